"""The journal of a deployment: what it did and was about to do, one JSON object a line, durable before the act.

A rollout begins, writes an `intent` before and a `reached` after the act of every state, and ends. One without an end
was left by a controller that died: it is resumed or aborted. The journal is also the audit log.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from tailrace.errors import DeployError, MachineRefused
from tailrace.host import excerpts, files, lock
from tailrace.masking import Mask

Kind = Literal["begin", "intent", "reached", "end", "note"]
ENVIRONMENT = "environment"
FACT_BYTES = 8_000
"""A longer fact is cut: the journal is read as a whole, again and again."""


@dataclass(frozen=True)
class JournalEntry:
    """One line. `t_ns` is from `time.perf_counter_ns`, `at` from the wall clock: order never depends on the latter."""

    seq: int
    transition: str
    """The id of the rollout; empty for a note about none."""
    kind: Kind
    state: str
    fact: str
    t_ns: int
    at: str
    who: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Journal:
    """An append-only file; `fault` is called around each write, so that a test can kill the controller there."""

    path: Path
    fault: Callable[[str], None] = files.nothing
    mask: Mask = field(default=Mask(), repr=False)
    """Masks what an entry says; not the environment of an instance, which is plain and is handed on again."""

    def append(self, transition: str, kind: Kind, state: str, fact: str = "", **data: Any) -> JournalEntry:
        """Write one entry and return once it is durable; raises MachineRefused when it cannot be written."""
        try:
            return self._append(transition, kind, state, fact, data)
        except OSError as error:
            raise MachineRefused(
                f"{self.path}: {state} could not be journalled ({error.strerror}), so it was not done; "
                "make room, then look at `status`"
            ) from error

    def _append(self, transition: str, kind: Kind, state: str, fact: str, data: Mapping[str, Any]) -> JournalEntry:
        self.fault(f"{state}:{kind}:before")
        with lock.opened(self.path, "ab") as file:  # the supervisor of an instance appends notes, beside a controller
            whole = _drop_torn_line(file)
            entry = JournalEntry(
                whole.count(b"\n"), transition, kind, state, self._said(fact), time.perf_counter_ns(),
                datetime.now(UTC).isoformat(timespec="milliseconds"), _who(), self._masked(data),
            )  # fmt: skip
            file.write(json.dumps(asdict(entry)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if not whole:
            files.sync(self.path.parent)
        self.fault(f"{state}:{kind}:after")
        return entry

    def _said(self, fact: str) -> str:
        """Return `fact` as it may be kept: without secrets, bounded, and harmless to a terminal."""
        return excerpts.shortened(excerpts.harmless(self.mask(fact)), FACT_BYTES)

    def _masked(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value if name == ENVIRONMENT else self.mask.document(value) for name, value in data.items()}

    def entries(self) -> list[JournalEntry]:
        """Return all entries, oldest first.

        A last line that a crash has torn was never acted upon, and is left out. Raises DeployError when another line
        is damaged and no operator has confirmed the state of the deployment since.
        """
        lines = self._lines()
        if damaged := self._damaged(lines):
            raise DeployError(
                f"{self.path}: line {damaged[0]} is damaged and its content is lost, so nothing is deployed. "
                "`resume` keeps the colour that the route file names, and journals that you confirmed it"
            )
        return [entry for entry in lines if entry is not None]

    def damaged(self) -> list[int]:
        """Return the numbers of the damaged lines since the last confirmation."""
        return self._damaged(self._lines())

    def unfinished(self) -> list[JournalEntry]:
        """Return the entries of the last rollout when it has no end; else nothing."""
        entries = [entry for entry in self.entries() if entry.kind != "note"]
        if not entries or entries[-1].kind == "end":
            return []
        return [entry for entry in entries if entry.transition == entries[-1].transition]

    def generation(self) -> int:
        """Return the highest generation that was ever intended."""
        return max((int(entry.data.get("generation", 0)) for entry in self.entries()), default=0)

    def _lines(self) -> list[JournalEntry | None]:
        content = self.path.read_bytes() if self.path.exists() else b""
        return [_parsed(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]

    def _damaged(self, lines: list[JournalEntry | None]) -> list[int]:
        confirmed = max((n for n, entry in enumerate(lines) if entry and entry.state == "confirmed"), default=-1)
        return [n + 1 for n, entry in enumerate(lines) if entry is None and n > confirmed]


def _parsed(line: bytes) -> JournalEntry | None:
    try:
        return JournalEntry(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _drop_torn_line(file: IO[bytes]) -> bytes:
    """Truncate a last line that a crash has torn: it was never acted upon. Return the whole lines."""
    content = Path(file.name).read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        file.truncate(whole)
    return content[:whole]


def _who() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()} pid {os.getpid()}"


def described(unfinished: Sequence[JournalEntry]) -> str:
    """Return which rollout was left half-way, and where, from its entries."""
    return f"rollout {unfinished[0].transition}, left at {unfinished[-1].state}"
