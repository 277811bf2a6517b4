"""Columns of parquet, to and from buffers.

`pa.array` of a NumPy array imports pandas, and so does `to_numpy`: a second of CPU during a load.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def column(kind: str, values: Any, dictionary: pa.Array) -> pa.Array:
    """Return one column; its kind is "?", "i4", "i8", or "u2" for numbers of strings in `dictionary`."""
    if kind == "?":
        return pa.Array.from_buffers(
            pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))]
        )
    arrow, numpy = {"u2": (pa.int32(), "<i4"), "i4": (pa.int32(), "<i4"), "i8": (pa.int64(), "<i8")}[kind]
    buffer = pa.py_buffer(np.ascontiguousarray(values, dtype=numpy))
    numbers = pa.Array.from_buffers(arrow, len(values), [None, buffer])
    return pa.DictionaryArray.from_arrays(numbers, dictionary) if kind == "u2" else numbers


def read(files: Sequence[Path], names: Sequence[str]) -> dict[str, Any]:
    """Return columns of these files as arrays; strings as arrays of strings. Without files they are empty."""
    arrays: dict[str, list[Any]] = {name: [] for name in names}
    for file in files:
        strings = [name for name in names if pa.types.is_string(pq.read_schema(file).field(name).type)]
        table = pq.ParquetFile(file, read_dictionary=strings).read(columns=list(names))
        for name in names:
            arrays[name] += map(_array, table[name].chunks)
    return {name: np.concatenate(parts) if parts else np.empty(0, np.int64) for name, parts in arrays.items()}


def buffer(chunk: pa.Array, kind: Any) -> Any:
    """Return the numbers of an array without nulls, where they are."""
    values = np.frombuffer(chunk.buffers()[1], dtype=kind)
    return values[chunk.offset : chunk.offset + len(chunk)]


def _array(chunk: pa.Array) -> Any:
    if pa.types.is_dictionary(chunk.type):
        return np.array(chunk.dictionary.to_pylist(), dtype=np.str_)[buffer(chunk.indices, np.int32)]
    if pa.types.is_boolean(chunk.type):
        return buffer(chunk.cast(pa.int8()), np.int8).astype(bool)
    return buffer(chunk, np.int32 if chunk.type == pa.int32() else np.int64).astype(np.int64)


def texts(strings: Sequence[str]) -> pa.Array:
    """Return strings as a column."""
    encoded = [text.encode("utf-8", "replace") for text in strings]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))


def write(table: pa.Table, path: Path, delta: Sequence[str]) -> None:
    """Write a table so that `path` is whole or not there; the columns `delta` are delta-coded.

    Written without an Arrow schema: readers get plain strings, or categories when they ask (`read_dictionary`).
    """
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(
        table,
        partial,
        compression="zstd",
        use_dictionary=[
            field.name for field in table.schema if field.name not in delta and not pa.types.is_boolean(field.type)
        ],
        column_encoding=dict.fromkeys(delta, "DELTA_BINARY_PACKED"),
        store_schema=False,
        write_statistics=False,
    )
    partial.rename(path)
