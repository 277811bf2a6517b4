"""The tables of `latency` and `goodput` for records that exceed memory: by DuckDB, with the same numbers to the bit.

DuckDB scans the parquet files and streams three columns; they are copied into arrays group by group, as many groups
at a time as the memory allows, and each group goes through the same function as in `latency`. One group has to fit:
12 bytes a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from tailrace import measures
from tailrace.analysis import frames
from tailrace.analysis.goodput import Batched
from tailrace.analysis.goodput import tabulated as tabulated_goodput
from tailrace.analysis.intervals import BATCHES
from tailrace.analysis.latency import Group, rows, tabulated
from tailrace.errors import RecordsError
from tailrace.percentiles import PERCENTILES, named
from tailrace.records import DEFAULTS, ERROR

ROW_BYTES: Final = 12
BATCH_ROWS: Final = 1_000_000


def latency(
    source: Path | Sequence[Path],
    by: Sequence[str] = ("phase",),
    start: frames.Start = "intended",
    percentiles: Sequence[str | float] = PERCENTILES,
    *,
    measure: str = "latency",
    phases: Sequence[str] = (),
    memory_mb: int = 1_400,
) -> pd.DataFrame:
    """Return what `analysis.latency` returns for the records in these folders, within about `memory_mb`.

    Only `phases` are counted, or all when it is empty.
    """
    names, rule = [named(p) for p in percentiles], measures.named(measure)
    with _connected(memory_mb) as connection:
        read = _read(_opened(connection, source, by, phases), list(by), rule, start)
        groups, coded = _numbered(connection, read, list(by))
        latencies: list[dict[str, float]] = []
        for first, last in _portions(groups["n"].to_numpy(), memory_mb * 500_000 // ROW_BYTES):
            latencies += rows(list(_loaded(coded, groups.iloc[first:last], "outcome" in by)), names, rule.per_ms)
        return tabulated(groups[list(by)], latencies, names)


def goodput(
    source: Path | Sequence[Path],
    limits_ms: Mapping[str, float],
    by: Sequence[str] = (),
    start: frames.Start = "intended",
    *,
    phases: Sequence[str] = (),
    memory_mb: int = 1_400,
) -> pd.DataFrame:
    """Return what `analysis.goodput` returns for the records in these folders. Only `phases` are counted, or all."""
    keys, good = [f'"{name}"' for name in by], measures.good_sql(limits_ms, start)
    eligible = " AND ".join(condition for name in limits_ms for condition in measures.named(name).eligible)
    with _connected(memory_mb) as connection:
        rows = _opened(connection, source, by, phases)
        rows = rows.filter(eligible) if eligible else rows
        rows = rows.project(", ".join([*keys, "intended_ns::BIGINT AS t", f"{good} AS good"]))
        spans = rows.aggregate(
            ", ".join([*keys, "min(t) AS first", "max(t) AS last", "count(*) AS n"]), ", ".join(keys)
        )
        groups = spans.df().sort_values(list(by), kind="stable", ignore_index=True) if by else spans.df()
        return tabulated_goodput(groups[list(by)], _batches(connection, rows, groups, list(by)))


def _batches(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, groups: pd.DataFrame, by: list[str]
) -> list[Batched]:
    """Return the requests of each group (in `first`, `last`), counted in batches of equal time."""
    if not groups["n"].sum():
        return [Batched(np.zeros(0, np.int64), np.zeros(0, np.int64), 0) for _ in range(len(groups))]
    spans = connection.from_df(groups.assign(code=np.arange(len(groups)))).set_alias("g")
    same = " AND ".join(f'l."{name}" = g."{name}"' for name in by) or "true"
    batch = f"(t - first) * {BATCHES} // (last - first + 1)"
    joined = rows.set_alias("l").join(spans, same).project(f"code * {BATCHES} + {batch} AS place, good")
    counted = joined.aggregate("place, count(*) AS n, count(*) FILTER (good) AS good", "place").df()
    requests, good = (np.zeros((len(groups), BATCHES), np.int64) for _ in range(2))
    requests.flat[counted["place"].to_numpy()] = counted["n"].to_numpy()
    good.flat[counted["place"].to_numpy()] = counted["good"].to_numpy()
    spans_ns = (groups["last"] - groups["first"]).tolist()
    return [Batched(n, kept, span_ns) for n, kept, span_ns in zip(requests, good, spans_ns, strict=True)]


@contextmanager
def _connected(memory_mb: int) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(f"SET memory_limit = '{max(200, memory_mb // 3)}MB'")
        connection.execute("SET preserve_insertion_order = false")
        yield connection


def _opened(
    connection: duckdb.DuckDBPyConnection, source: Path | Sequence[Path], by: Sequence[str], phases: Sequence[str]
) -> duckdb.DuckDBPyRelation:
    """Return the records in these folders; RecordsError when there are none, or when they lack a column of `by`."""
    folders = [source] if isinstance(source, Path) else list(source)
    for folder in folders:
        frames.check(folder)
    unknown = set(by) - set(frames.empty().columns)
    if unknown:
        raise RecordsError(f"records: no column {', '.join(sorted(unknown))}")
    rows = _filled(connection.read_parquet([str(folder / "part-*.parquet") for folder in folders], union_by_name=True))
    if phases:
        rows = rows.filter(f"phase IN ({', '.join(_quoted(phase) for phase in phases)})")
    return rows


def _read(
    rows: duckdb.DuckDBPyRelation, by: list[str], rule: measures.Measure, start: frames.Start
) -> duckdb.DuckDBPyRelation:
    """Return the columns `by`, us, t, failed, and kept: whether the row is in a distribution."""
    known, failed, apart = " AND ".join(rule.known), f"outcome = '{ERROR}'", "outcome" in by
    if known:
        rows = rows.filter(" AND ".join(rule.eligible))
        rows = rows.filter(f"{known} AND NOT ({failed})" if apart else f"({known}) OR {failed}")
    value = f"CASE WHEN {known} THEN {rule.value(start)} ELSE 0 END" if known else rule.value(start)
    derived = [f"({value})::BIGINT AS us", "intended_ns::BIGINT AS t", f"{failed} AS failed"]
    columns = [*(f'"{name}"' for name in by), *derived, f"{'true' if apart else f'NOT ({failed})'} AS kept"]
    return rows.project(", ".join(columns))


def _filled(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return `rows` with the defaults of the columns that older files lack."""
    there = [f'coalesce("{name}", {default}) AS "{name}"' for name, default in DEFAULTS.items() if name in rows.columns]
    others = [f'{default} AS "{name}"' for name, default in DEFAULTS.items() if name not in rows.columns]
    return rows.project(", ".join([f"* REPLACE ({', '.join(there)})" if there else "*", *others]))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _numbered(
    connection: duckdb.DuckDBPyConnection, read: duckdb.DuckDBPyRelation, by: list[str]
) -> tuple[pd.DataFrame, duckdb.DuckDBPyRelation]:
    """Return the groups by key, with n, errors, top and code; and the columns code, us, t of the rows kept."""
    keys = [f'"{name}"' for name in by]
    counts = ["count(*) FILTER (kept) AS n", "count(*) FILTER (failed) AS errors", "coalesce(max(us), 0) AS top"]
    table = read.aggregate(", ".join([*keys, *counts]), ", ".join(keys)).df()
    groups = table.sort_values(by, kind="stable", ignore_index=True) if by else table
    groups["code"] = np.arange(len(groups))
    if not by:
        return groups, read.filter("kept").project("0 AS code, us, t")
    numbered = connection.from_df(groups[[*by, "code"]])
    same = " AND ".join(f"l.{key} = g.{key}" for key in keys)
    joined = read.filter("kept").set_alias("l").join(numbered.set_alias("g"), same)
    return groups, joined.project("code, us, t")


def _portions(sizes: npt.NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of groups whose sizes add up to at most `rows`; a larger group is alone."""
    first, held = 0, 0
    for i, size in enumerate(sizes.tolist()):
        if held and held + size > rows:
            yield first, i
            first, held = i, 0
        held += size
    if len(sizes):
        yield first, len(sizes)


def _loaded(coded: duckdb.DuckDBPyRelation, groups: pd.DataFrame, by_outcome: bool) -> Iterator[Group]:
    """Yield `groups`, their values and times copied into arrays during one scan."""
    first, last = int(groups["code"].iloc[0]), int(groups["code"].iloc[-1])
    next_row = np.concatenate(([0], np.cumsum(groups["n"].to_numpy())))
    bounds = next_row.copy()
    narrow = groups["top"].max() < 2**31
    values: npt.NDArray[Any] = np.empty(next_row[-1], dtype=np.int32 if narrow else np.int64)
    times = np.empty(next_row[-1], dtype=np.int64)
    # 16 bits: NumPy sorts them by radix. DuckDB narrows the columns, so that it need not be done here.
    code = f"(code - {first})::{'USMALLINT' if len(groups) < 65_536 else 'INTEGER'} AS code"
    chosen = coded.filter(f"code BETWEEN {first} AND {last}")
    read = chosen.project(f"{code}, us::{'INTEGER' if narrow else 'BIGINT'} AS us, t").to_arrow_reader(BATCH_ROWS)
    for batch in _prefetched(read):
        _copy(batch, next_row, values, times)
    for i, errors in enumerate(groups["errors"].tolist()):
        part = slice(bounds[i], bounds[i + 1])
        yield Group(values[part], times[part], errors, 0 if by_outcome else errors)


def _prefetched(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield `batches`, and read the next one meanwhile: both release Python's lock."""
    source = iter(batches)
    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(next, source, None)
        while (batch := pending.result()) is not None:
            pending = reader.submit(next, source, None)
            yield batch


def _copy(
    batch: pa.RecordBatch,
    next_row: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    times: npt.NDArray[np.int64],
) -> None:
    """Copy the rows of `batch` to the next rows of their groups, and advance `next_row`."""
    codes, us, t = (column.to_numpy(zero_copy_only=False) for column in batch.columns)
    order = np.argsort(codes, kind="stable")
    us, t = us[order], t[order]
    sizes = np.bincount(codes, minlength=len(next_row) - 1)
    ends = np.cumsum(sizes)
    for group in np.flatnonzero(sizes).tolist():
        source = slice(ends[group] - sizes[group], ends[group])
        target = slice(next_row[group], next_row[group] + sizes[group])
        values[target], times[target] = us[source], t[source]
    next_row[:-1] += sizes
