"""What a deployment did and was about to do: one JSON object per line, durable before the act.

A transition begins, then for every state writes an `intent` before the act and `reached` after it, and ends. One
without its end was left by a controller that died: it is resumed or aborted. The journal is the audit log, too.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tailrace.deploy import files
from tailrace.errors import DeployError

Kind = Literal["begin", "intent", "reached", "end", "note"]


@dataclass(frozen=True)
class Event:
    """One line. `t_ns` is of `time.perf_counter_ns`, `at` of the wall clock: order never depends on the latter."""

    seq: int
    transition: str
    kind: Kind
    state: str
    fact: str
    t_ns: int
    at: str
    who: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Journal:
    """An append-only file; `fault` is called around each write, for the tests that kill."""

    path: Path
    fault: Callable[[str], None] = files.nothing

    def append(self, transition: str, kind: Kind, state: str, fact: str = "", **data: Any) -> Event:
        """Write one event and return once it is durable."""
        seq = self.path.read_bytes().count(b"\n") if self.path.exists() else 0
        event = Event(
            seq, transition, kind, state, fact, time.perf_counter_ns(),
            datetime.now(UTC).isoformat(timespec="milliseconds"), _who(), data,
        )  # fmt: skip
        self.fault(f"{state}:{kind}:before")
        fresh = not self.path.exists()
        with self.path.open("ab") as file:
            if _torn(self.path):
                file.write(b"\n")
            file.write(json.dumps(asdict(event)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            files.sync(self.path.parent)
        self.fault(f"{state}:{kind}:after")
        return event

    def events(self) -> list[Event]:
        """Return all events, oldest first.

        A last line that was torn by a crash was never acted upon, and is left out. Raises DeployError when any
        other line is damaged.
        """
        found = list(self._lines())
        damaged = [number for number, event in found[:-1] if event is None]
        repaired = {number for number, event in found if event and event.data.get("confirms_damage")}
        if damaged and not any(number > max(damaged) for number in repaired):
            raise DeployError(
                f"{self.path}: line {damaged[0]} is damaged; what it said is lost. "
                "Look at `status`; `resume` writes down what is there and goes on from that"
            )
        return [event for _, event in found if event is not None]

    def unfinished(self) -> list[Event]:
        """Return the events of the last transition when it has no end; else nothing."""
        events = [event for event in self.events() if event.kind != "note"]
        if not events or events[-1].kind == "end":
            return []
        return [event for event in events if event.transition == events[-1].transition]

    def generation(self) -> int:
        """Return the highest generation that was ever intended."""
        return max((int(event.data.get("generation", 0)) for event in self.events()), default=0)

    def _lines(self) -> Iterator[tuple[int, Event | None]]:
        if not self.path.exists():
            return
        for number, line in enumerate(self.path.read_bytes().splitlines(), start=1):
            if not line.strip():
                continue
            try:
                yield number, Event(**json.loads(line))
            except (ValueError, TypeError):
                yield number, None


def _torn(path: Path) -> bool:
    """Whether the last line has no end."""
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _who() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()} pid {os.getpid()}"
