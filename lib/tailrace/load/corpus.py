"""Your own prompts, from a JSONL, CSV or parquet file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tailrace.errors import LoadError

COLUMNS = ("prompt", "text", "content", "question", "input")
"""The columns that may hold the prompt, in this order, when none is named. JSONL may also hold `messages`."""


def read(path: Path, column: str = "") -> tuple[str, ...]:
    """Return the prompts in `path`, in order, without empty ones; LoadError when there are none."""
    readers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    if path.suffix not in readers:
        raise LoadError(f"prompts {path}: found {path.suffix or 'no suffix'}, expected .jsonl, .csv or .parquet")
    try:
        rows = list(readers[path.suffix](path))
    except (OSError, ValueError, csv.Error) as error:
        raise LoadError(f"prompts {path} cannot be read: {error}") from error
    prompts = tuple(text for row in rows if (text := _text(row, column)))
    if not prompts:
        names = column or ", ".join(COLUMNS)
        raise LoadError(f"prompts {path}: {len(rows)} rows, none with text in a column {names}")
    return prompts


def _text(row: Any, column: str) -> str:
    if isinstance(row, str):
        return row.strip()
    if not isinstance(row, dict):
        return ""
    for name in (column,) if column else COLUMNS:
        if isinstance(row.get(name), str):
            return str(row[name]).strip()
    messages = row.get("messages")
    contents = [one.get("content") for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    return contents[-1].strip() if contents and isinstance(contents[-1], str) else ""


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open("rb") as file:
        yield from (orjson.loads(line) for line in file if line.strip())


def _csv(path: Path) -> Iterator[Any]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    yield from pq.read_table(path).to_pylist()
