"""The events of a run, one JSON line each, in `events.jsonl`: the authority on its status.

papermill's own metadata is wrong after a dead kernel, a time limit or a signal, so the runner and the notebooks
write here. Both may write at the same time: each line is one write to a file opened for appending, and the
operating system keeps such writes apart.

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

from tailrace.host import files
from tailrace.run.folder import RunDir


class RunEvent(NamedTuple):
    """One line: the name of the event, its time on both clocks, and its own fields."""

    event: str
    t_ns: int  # time.perf_counter_ns() of the writer: one clock for all processes of the machine
    at: str  # wall clock, ISO 8601 in UTC
    fields: dict[str, Any]


def append(run_dir: Path, event: str, **fields: Any) -> None:
    """Append one event to the run at `run_dir`; raise TypeError or ValueError when `fields` are not JSON."""
    stamped = {"event": event, "t_ns": time.perf_counter_ns(), "at": datetime.now(UTC).isoformat(), **fields}
    line = json.dumps(stamped, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    handle = os.open(RunDir(run_dir).events, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, files.FILE)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def read(run_dir: Path, offset: int = 0) -> list[RunEvent]:
    """Return the events of a run from byte `offset` on, without a last line that is still being written."""
    return list(parse(complete_lines(run_dir, offset)))


def complete_lines(run_dir: Path, offset: int = 0) -> bytes:
    """Return the complete lines from byte `offset` on; add their length to `offset` to continue from there."""
    try:
        with RunDir(run_dir).events.open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return b""
    return content[: content.rfind(b"\n") + 1]


def parse(lines: bytes) -> Iterator[RunEvent]:
    """Yield the events in `lines`; skip a damaged line."""
    for line in lines.splitlines():
        try:
            content = json.loads(line)
            yield RunEvent(content.pop("event"), content.pop("t_ns"), content.pop("at"), content)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
