"""What happened in a run, one JSON line per event, in `events.jsonl`: the authority on status.

papermill's own metadata is wrong after a dead kernel, a time limit or a signal, so the runner and the
notebooks write here. Both may write at the same time: a line goes out in one write to a file that is open
for appending, and the kernel keeps such writes apart.

    {"event": "check", "t_ns": 81…, "at": "2026-11-23T08:15:30.123456+00:00", "step": "03_…", "name": "…", "ok": true}
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

NAME = "events.jsonl"


class Event(NamedTuple):
    """One line: what, when on both clocks, and the fields that belong to it."""

    event: str
    t_ns: int  # time.perf_counter_ns() of the writer: one clock for all processes of the machine
    at: str  # wall clock, ISO 8601 in UTC
    fields: dict[str, Any]


def append(run_dir: Path, event: str, **fields: Any) -> None:
    """Write one event to the run at `run_dir`; `fields` have to be JSON, else TypeError or ValueError."""
    stamped = {"event": event, "t_ns": time.perf_counter_ns(), "at": datetime.now(UTC).isoformat(), **fields}
    line = json.dumps(stamped, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    handle = os.open(run_dir / NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def read(run_dir: Path, offset: int = 0) -> list[Event]:
    """Return the events of a run from byte `offset` on, without a last line that is still being written."""
    return list(parsed(complete(run_dir, offset)))


def complete(run_dir: Path, offset: int = 0) -> bytes:
    """Return the whole lines from byte `offset` on: add its length to `offset` to go on reading from there."""
    try:
        with (run_dir / NAME).open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def parsed(lines: bytes) -> Iterator[Event]:
    """Yield the events that stand in `lines`; a damaged line is left out, the others keep their worth."""
    for line in lines.splitlines():
        try:
            content = json.loads(line)
            yield Event(content.pop("event"), content.pop("t_ns"), content.pop("at"), content)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
