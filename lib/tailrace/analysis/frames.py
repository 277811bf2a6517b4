"""Records as a DataFrame: read and checked against the schema, labelled by time, turned into latencies."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tailrace.errors import RecordsError
from tailrace.measures import Start as Start
from tailrace.records import DEFAULTS, ERROR, Record

_PYTHON: Final = typing.get_type_hints(Record)
_DTYPES: Final = {str: "str", int: "int64", bool: "bool"}


def read(source: Path | str | Iterable[Path | str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the records in `source`: a parquet file, a folder of `part-*.parquet`, or several of them.

    A folder without parts gives no rows. With `columns`, only these are read. Columns that an older version did not
    write hold their defaults. Raises RecordsError when something is missing, damaged or of another schema.
    """
    sources = [source] if isinstance(source, Path | str) else list(source)
    files = [file for one in sources for file in _files(Path(one))]
    tables = [_table(file, columns) for file in files]
    if not tables:
        return empty(columns)
    frame = pa.concat_tables(tables, promote_options="permissive").to_pandas()
    texts = {name: "str" for name in frame.columns if _PYTHON[name] is str}
    # Times are stored as 32 bits where they fit; in nanoseconds they would not.
    return frame.astype(texts | {name: "int64" for name in frame.columns if name.endswith("_us")})


def check(source: Path) -> None:
    """Raise RecordsError unless `source` is a folder with parts of the right schema; no row is read."""
    files = _files(source)
    if not files:
        raise RecordsError(f"records: {source} holds no part-*.parquet; run the step that writes them first")
    for file in files:
        _checked(file)


def empty(columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a frame without records, with the right columns."""
    names = columns or Record._fields
    return pd.DataFrame({name: pd.Series(dtype=_DTYPES[_PYTHON[name]]) for name in names})


def sent_ns(records: pd.DataFrame) -> pd.Series[int]:
    """Return when each request was sent, on the clock of `intended_ns`."""
    sent: pd.Series[int] = records["intended_ns"] + records["send_lag_us"].astype("int64") * 1_000
    return sent


def ended_ns(records: pd.DataFrame) -> pd.Series[int]:
    """Return when each request ended, on the same clock."""
    ended: pd.Series[int] = sent_ns(records) + records["service_us"].astype("int64") * 1_000
    return ended


def elapsed_us(records: pd.DataFrame, start: Start = "intended") -> npt.NDArray[np.int64]:
    """Return the latency of each record, in µs, from its intended start or from when it was sent."""
    service: npt.NDArray[np.int64] = records["service_us"].to_numpy(dtype=np.int64)
    if start == "sent":
        return service
    if start != "intended":
        raise ValueError(f"start: found {start!r}, expected 'intended' or 'sent'")
    lag: npt.NDArray[np.int64] = records["send_lag_us"].to_numpy(dtype=np.int64)
    return service + lag


def failed(records: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return a mask of the records of failed requests."""
    failures: npt.NDArray[np.bool_] = (records["outcome"] == ERROR).to_numpy(dtype=bool)
    return failures


def between(records: pd.DataFrame, marks: pd.DataFrame, column: str = "phase") -> pd.DataFrame:
    """Return the records with `column` set to the label of the last mark at or before their intended start.

    Only marks of kind "state" count when there are any. Records before the first mark are labelled "before".
    """
    states = marks[marks["kind"] == "state"] if (marks["kind"] == "state").any() else marks
    states = states.sort_values("t_ns", kind="stable")
    at = np.searchsorted(states["t_ns"].to_numpy(), records["intended_ns"].to_numpy(), side="right")
    labels = np.concatenate((["before"], states["label"].to_numpy(dtype=object)))
    return records.assign(**{column: pd.array(labels[at], dtype="str")})


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise RecordsError(f"records: {source} does not exist; run the step that writes them first")
    return sorted(source.glob("part-*.parquet"))


def _table(file: Path, columns: Sequence[str] | None) -> pa.Table:
    names, there = list(columns or Record._fields), _checked(file).names
    try:
        table = pq.ParquetFile(file).read(columns=[name for name in names if name in there or name not in DEFAULTS])
    except (OSError, pa.ArrowException) as error:
        raise RecordsError(f"records: {file} cannot be read as parquet: {error}; was its writer killed?") from None
    for place, name in enumerate(names):
        if name not in table.column_names and name in DEFAULTS:
            table = table.add_column(place, name, pa.repeat(pa.scalar(DEFAULTS[name]), table.num_rows))
    return table


def _checked(file: Path) -> pa.Schema:
    try:
        schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise RecordsError(f"records: {file} cannot be read as parquet: {error}; was its writer killed?") from None
    missing = [name for name in Record._fields if name not in schema.names and name not in DEFAULTS]
    unknown = [name for name in schema.names if name not in Record._fields]
    if missing or unknown:
        raise RecordsError(f"records: {file} has another schema: missing {missing}, unknown {unknown}")
    for field in schema:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if not _fits(kind, _PYTHON[field.name]):
            raise RecordsError(
                f"records: {file}: column {field.name} is {field.type}, expected {_PYTHON[field.name].__name__}"
            )
    return schema


def _fits(kind: pa.DataType, python: type) -> bool:
    if python is str:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    return bool(pa.types.is_boolean(kind) if python is bool else pa.types.is_integer(kind))
