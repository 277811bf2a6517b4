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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tailrace.errors import DeployError
from tailrace.host import files

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
        """Write one event and return once it is durable; raises DeployError when it cannot be written."""
        try:
            return self._append(transition, kind, state, fact, data)
        except OSError as error:
            raise DeployError(
                f"{self.path}: {state} could not be written down ({error.strerror}), so it was not done; "
                "make room, then go back with abort, or on with resume"
            ) from error

    def _append(self, transition: str, kind: Kind, state: str, fact: str, data: Mapping[str, Any]) -> Event:
        seq = self.path.read_bytes().count(b"\n") if self.path.exists() else 0
        event = Event(
            seq, transition, kind, state, fact, time.perf_counter_ns(),
            datetime.now(UTC).isoformat(timespec="milliseconds"), _who(), data,
        )  # fmt: skip
        self.fault(f"{state}:{kind}:before")
        fresh = not self.path.exists()
        with self.path.open("ab") as file:
            _mend(file)
            file.write(json.dumps(asdict(event)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            files.sync(self.path.parent)
        self.fault(f"{state}:{kind}:after")
        return event

    def events(self) -> list[Event]:
        """Return all events, oldest first.

        A last line that was torn by a crash was never acted upon, and is left out. Raises DeployError when another
        line is damaged and nobody has confirmed what there is now.
        """
        found = self._lines()
        if damaged := self._damaged(found):
            raise DeployError(
                f"{self.path}: line {damaged[0]} is damaged; what it said is lost, so nothing is deployed. "
                "`resume` keeps the colour that the route file names, and writes down that you confirmed it"
            )
        return [event for event in found if event is not None]

    def damaged(self) -> list[int]:
        """Return the numbers of damaged lines that nobody has confirmed."""
        return self._damaged(self._lines())

    def unfinished(self) -> list[Event]:
        """Return the events of the last transition when it has no end; else nothing."""
        events = [event for event in self.events() if event.kind != "note"]
        if not events or events[-1].kind == "end":
            return []
        return [event for event in events if event.transition == events[-1].transition]

    def generation(self) -> int:
        """Return the highest generation that was ever intended."""
        return max((int(event.data.get("generation", 0)) for event in self.events()), default=0)

    def _lines(self) -> list[Event | None]:
        content = self.path.read_bytes() if self.path.exists() else b""
        return [_event(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def _damaged(self, found: list[Event | None]) -> list[int]:
        confirmed = max((n for n, event in enumerate(found) if event and event.state == "confirmed"), default=-1)
        return [n + 1 for n, event in enumerate(found) if event is None and n > confirmed]


def _event(line: bytes) -> Event | None:
    try:
        return Event(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _mend(file: BinaryIO) -> None:
    """Take away a last line that a crash has torn: what it said was never acted upon."""
    with Path(file.name).open("rb") as now:
        content = now.read()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        file.truncate(whole)


def _who() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()} pid {os.getpid()}"
