"""Rows of a file that somebody else wrote: CSV, JSONL or parquet, one at a time, each with its place.

A BOM, both kinds of line ends and blank lines are read. What cannot be read is refused with the number of its line,
what was found and what was expected.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import orjson

from tailrace.errors import LoadError

FIELD_BYTES: Final = 64 << 20
"""The longest line, or field, that is read."""
_ENCODINGS: Final = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


class Row(NamedTuple):
    """One row: its line (of a parquet file: its number from 1), and its value, an object in most files."""

    line: int
    value: Any


class Source(NamedTuple):
    """A file and what it is called in messages: `trace`, `prompts`."""

    subject: str
    path: Path

    @property
    def untyped(self) -> bool:
        """Whether every value is text, as in CSV."""
        return self.path.suffix.lower() == ".csv"

    def refuse(self, line: int, found: str, expected: str) -> NoReturn:
        """Raise LoadError for one line."""
        raise LoadError(f"{self.subject} {self.path}, line {line}: found {found}; expected {expected}")

    def rows(self) -> Iterator[Row]:
        """Yield the rows; LoadError when the file is missing, of another kind, or at the first line that is broken."""
        if not self.path.is_file():
            raise LoadError(f"{self.subject} {self.path} does not exist, or is no file")
        reader = _READERS.get(self.path.suffix.lower())
        if reader is None:
            found = self.path.suffix or "no suffix"
            raise LoadError(f"{self.subject} {self.path}: found {found}, expected one of {', '.join(_READERS)}")
        try:
            yield from reader(self)
        except OSError as error:
            raise LoadError(f"{self.subject} {self.path} cannot be read: {error}") from error

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines with their ends, without a BOM; LoadError at one that is not UTF-8 or too long."""
        with self.path.open("rb") as file:
            number = 0
            while raw := file.readline(FIELD_BYTES + 1):
                number += 1
                if number == 1:
                    if raw[:2] in _ENCODINGS:
                        self.refuse(1, f"text in {_ENCODINGS[raw[:2]]}", "UTF-8; save the file in it")
                    raw = raw.removeprefix(codecs.BOM_UTF8)
                if len(raw) > FIELD_BYTES:
                    self.refuse(number, f"a line of more than {FIELD_BYTES >> 20} MiB", "a shorter one")
                try:
                    raw.isascii() or raw.decode()
                except UnicodeDecodeError as error:
                    found = f"byte 0x{raw[error.start]:02x} at column {error.start + 1}, which is not UTF-8"
                    self.refuse(number, found, "UTF-8; files of older programs are often in Latin-1 (Windows-1252)")
                yield number, raw


def _jsonl(source: Source) -> Iterator[Row]:
    for line, raw in source.lines():
        if text := raw.strip():
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                source.refuse(line, f"{_short(text)} ({error.msg})", "one JSON value")
            yield Row(line, value)


def _json(source: Source) -> Iterator[Row]:
    size = source.path.stat().st_size
    if size > 16 * FIELD_BYTES:
        raise LoadError(
            f"{source.subject} {source.path}: {size >> 20} MiB, and JSON is read whole; the limit is"
            f" {16 * FIELD_BYTES >> 20} MiB. Convert it to JSONL (jq -c '.[]')"
        )
    text = b"".join(raw for _, raw in source.lines())
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        source.refuse(error.lineno, f"{error.msg} at column {error.colno}", "JSON")
    for number, one in enumerate(value if isinstance(value, list) else [value], 1):
        yield Row(number, one)


def _csv(source: Source) -> Iterator[Row]:
    lines = (raw.decode() for _, raw in source.lines())
    before = csv.field_size_limit(FIELD_BYTES)
    try:
        reader = csv.reader(lines, strict=True)
        header: list[str] = []
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                source.refuse(reader.line_num, str(error), "CSV, with quotes around a field that holds some")
            if cells is None:
                return
            if not any(cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                source.refuse(reader.line_num, f"{len(cells)} fields", f"{len(header)}, as in the first line")
            else:
                yield Row(reader.line_num, dict(zip(header, cells, strict=True)))
    finally:
        csv.field_size_limit(before)


def _parquet(source: Source) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(source.path) as file:
            for batch in file.iter_batches(batch_size=8192):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(number, value)
    except pa.ArrowException as error:
        raise LoadError(f"{source.subject} {source.path}, after row {number}: not a parquet file ({error})") from error


def _plain_text(source: Source) -> Iterator[Row]:
    yield from (Row(line, text) for line, raw in source.lines() if (text := raw.decode().strip()))


def _short(text: bytes) -> str:
    shown = text[:60].decode(errors="replace")
    return f"{shown}…" if len(text) > 60 else shown


_READERS: Final[dict[str, Callable[[Source], Iterator[Row]]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
    ".json": _json,
    ".txt": _plain_text,
}
