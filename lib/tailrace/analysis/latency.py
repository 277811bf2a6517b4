"""The table of percentiles: for each group n, each percentile with its interval, and with failures counted."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tailrace import measures
from tailrace.analysis import frames, groups, intervals
from tailrace.percentiles import PERCENTILES, column, named, needs, of_sorted, rank, share, with_failures

Array = npt.NDArray[Any]

ALONE: Final = 200_000
"""With fewer values, threads are not worth their cost."""


def latency(
    records: pd.DataFrame,
    by: Sequence[str] = ("phase",),
    start: frames.Start = "intended",
    percentiles: Sequence[str | float] = PERCENTILES,
    measure: str = "latency",
) -> pd.DataFrame:
    """Return a row per group: `by`, n, errors, p50_ms, p50_lo_ms, p50_hi_ms, p50_adj_ms …, max_ms, episodes.

    `measure` is "latency", "ttft" or "tpot" (`analysis.measures`); of the last two, only streams are in the table.
    n counts successes, and only they are in the distribution; `_adj_` columns count each failure as +∞. (Grouped by
    `outcome`, the group of errors has the distribution of the time until failure.) With a lower n than a percentile
    needs, its columns are NaN; without successes all are. `episodes` is the number of slow episodes, at or beyond p99.
    Times are in milliseconds.
    """
    names, rule, apart = [named(p) for p in percentiles], measures.named(measure), "outcome" in by
    records = _measured(records, rule, by, apart)
    failed = frames.failed(records)
    grouped = groups.group(records, by)
    values = narrowed(_values(records, rule, start, failed))[grouped.order]
    times = records["intended_ns"].to_numpy(dtype=np.int64)[grouped.order]
    failures = failed[grouped.order]
    parts = [_group(values[s], times[s], failures[s], apart) for s in grouped.slices()]
    return tabulated(grouped.keys, rows(parts, names, rule.per_ms), names)


@dataclass(frozen=True)
class Group:
    """The successes of a group (times in ns), its number of failures, and how many of these count as +∞."""

    values: Array
    times: Array
    errors: int
    endless: int


def rows(of: Sequence[Group], names: Sequence[str], per_ms: int = 1_000) -> list[dict[str, float]]:
    """Return the columns of `latency` for each group, in their order; the cores share the sorting."""
    if sum(len(group.values) for group in of) < ALONE:
        return [_row(group, names, per_ms) for group in of]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda group: _row(group, names, per_ms), of))


def tabulated(keys: pd.DataFrame, of: Sequence[dict[str, float]], names: Sequence[str]) -> pd.DataFrame:
    """Return `keys` and the columns of `latency`: a row per group, in their order."""
    table = pd.DataFrame(of, columns=columns(names)).astype({"n": "int64", "errors": "int64", "episodes": "int64"})
    return pd.concat([keys, table], axis=1)


def _measured(records: pd.DataFrame, rule: measures.Measure, by: Sequence[str], apart: bool) -> pd.DataFrame:
    """Return the records of the table: those that have the measure, and the failures of those that ought to.

    With failures `apart` there are only the former, because the time until a failure is a latency and nothing else.
    """
    if not rule.known:
        return records
    records = records.loc[measures.holds(records, rule.eligible), [*{*by, *measures.COLUMNS}]]
    known, failed = measures.holds(records, rule.known), frames.failed(records)
    return records[known & ~failed if apart else known | failed]


def _values(
    records: pd.DataFrame, rule: measures.Measure, start: frames.Start, failed: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    if not rule.known:
        return measures.values(records, rule, start)
    found = np.zeros(len(records), dtype=np.int64)
    found[~failed] = measures.values(records, rule, start, ~failed)
    return found


def _group(values: Array, times: Array, failures: Array, apart: bool) -> Group:
    errors = int(failures.sum())
    if apart or not errors:
        return Group(values, times, errors, 0)
    return Group(values[~failures], times[~failures], errors, errors)


def columns(names: Sequence[str]) -> list[str]:
    """Return the names of the columns after those of the group, in order."""
    kinds = ("", "lo", "hi", "adj")
    return ["n", "errors", *(column(p, k) for p in names for k in kinds), "max_ms", "episodes"]


def narrowed(values: npt.NDArray[np.int64]) -> Array:
    """Return `values` as 32 bits where they fit, because these sort in half the time."""
    fits = not len(values) or int(values.max()) < 2**31 > -int(values.min())
    return values.astype(np.int32) if fits else values


def _row(group: Group, names: Sequence[str], per_ms: int) -> dict[str, float]:
    values, times, errors, beyond = group.values, group.times, group.errors, group.endless
    n = len(values)
    row: dict[str, float] = {"n": n, "errors": errors, "episodes": 0, "max_ms": math.nan}
    ordered = np.sort(values)
    for name, value in zip(names, with_failures(ordered, beyond, names), strict=True):
        enough = n + beyond >= needs(name)
        row[column(name, "adj")] = value / per_ms if enough else math.nan
    enough_for = [name for name in names if n >= needs(name)]
    if n:
        row["max_ms"] = float(ordered[-1]) / per_ms
        slow = values >= ordered[rank(n, "p99") - 1]
        row["episodes"] = intervals.episodes(times, slow)
    if enough_for:
        row |= _intervals(group, ordered, enough_for, per_ms)
    return row


def _intervals(group: Group, ordered: Array, names: Sequence[str], per_ms: int) -> dict[str, float]:
    rising = sorted(names, key=share)
    points = of_sorted(ordered, rising)
    table = intervals.cells(group.values, points.tolist(), intervals.batched(group.times))
    row = {}
    for name, point, effect in zip(rising, points.tolist(), intervals.effects(table).tolist(), strict=True):
        low, high = intervals.ranks(len(ordered), name, effect)
        row[column(name)] = point / per_ms
        row[column(name, "lo")] = float(ordered[low - 1]) / per_ms
        row[column(name, "hi")] = float(ordered[high - 1]) / per_ms
    return row
