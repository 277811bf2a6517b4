"""Prompts of your own, from a file: JSONL, CSV or parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tailrace.errors import LoadError

COLUMNS = ("prompt", "text", "content", "question", "input")
"""The columns that are looked for, in this order, when none is named. JSONL may also hold `messages`."""


def read(path: Path, column: str = "") -> tuple[str, ...]:
    """The prompts in `path`, in order, empty ones left out; LoadError when there are none."""
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if path.suffix not in readers:
        raise LoadError(f"prompts {path}: found {path.suffix or 'no suffix'}, expected .jsonl, .csv or .parquet")
    try:
        rows = list(readers[path.suffix](path))
    except (OSError, ValueError, csv.Error) as error:
        raise LoadError(f"prompts {path} cannot be read: {error}") from error
    prompts = tuple(text for row in rows if (text := _text(row, column)))
    if not prompts:
        wanted = column or ", ".join(COLUMNS)
        raise LoadError(f"prompts {path}: {len(rows)} rows, none with text in a column {wanted}")
    return prompts


def _text(row: Any, column: str) -> str:
    if isinstance(row, str):
        return row.strip()
    if not isinstance(row, dict):
        return ""
    for name in (column,) if column else COLUMNS:
        if isinstance(row.get(name), str):
            return str(row[name]).strip()
    said = row.get("messages")
    asked = [one.get("content") for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return str(asked[-1]).strip() if asked and isinstance(asked[-1], str) else ""


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        yield from (orjson.loads(line) for line in file if line.strip())


def _csv(path: Path) -> Iterator[Any]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    yield from pq.read_table(path).to_pylist()
