"""Detached processes, which another process than their starter can find and end.

A process leads its own session and group. Its members are the processes of that session, and those that have left it
but carry its marks. Its record holds the pid *and* when the kernel started it, because a pid alone may belong to
another process by now. Its environment has marks with the folder and the name of the record, by which a process is
found even when its starter died before it wrote the record.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from tailrace.errors import StartFailed
from tailrace.host import excerpts, files, pids, waiting
from tailrace.host.pids import started as started

MARK = "SPAWNED_INTO"
"""Environment variable that marks a process; its value is the folder of its record."""
NAME_MARK = "SPAWNED_AS"
"""The same for the name of its record."""


@dataclass(frozen=True)
class Process:
    """One recorded process; `started` identifies the owner of the pid, across reboots and steps of the clock."""

    name: str
    pid: int
    started: str
    folder: Path = field(compare=False)
    command: tuple[str, ...] = field(compare=False, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def record(self) -> Path:
        return self.folder / f"{self.name}.json"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return alive(self)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its log, as an excerpt that is bounded."""
        return excerpts.tail(self.log, lines)

    def excerpt(self, lines: int = 15) -> str:
        """Return the path of its log, and its last lines."""
        return excerpts.with_source(str(self.log), self.tail(lines))


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    name: str,
    labels: Mapping[str, str] | None = None,
    directory: Path | None = None,
    fault: Callable[[str], None] = files.nothing,
) -> Process:
    """Start `command` detached, with exactly `environment`, and record it in `folder`; raises StartFailed.

    Its output is appended to `<folder>/<name>.log`.
    """
    files.make_folder(folder)
    marked = {**environment, **marks(folder, name)}
    try:
        with open(folder / f"{name}.log", "ab", opener=files.private) as log:
            child = subprocess.Popen(
                list(command), env=marked, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, umask=files.UMASK,
            )  # fmt: skip
    except OSError as error:
        raise StartFailed(f"{name}: cannot start {command[0]}: {error.strerror}; check the command") from None
    return record(child, Process(name, child.pid, "", folder, tuple(command), dict(labels or {})), fault)


def marks(folder: Path, name: str) -> dict[str, str]:
    """Return the variables that mark a process, and what descends from it."""
    return {MARK: str(folder.resolve()), NAME_MARK: name}


def record(child: subprocess.Popen[bytes], process: Process, fault: Callable[[str], None] = files.nothing) -> Process:
    """Write the record of a process that has just been started as `child`, and return it with its start.

    Raises OSError where there is no place for the record; the process is then ended, with its group.
    """
    process = replace(process, started=started(child.pid) or "")
    # The process is ended through its record, perhaps by another process: keep Popen from warning that it still runs.
    child.returncode = 0
    fault("spawned")
    try:
        files.write(process.record, _document(process))
    except OSError:
        kill(process)
        raise
    return process


def alive(process: Process) -> bool:
    """Return whether this very process runs: its pid exists, was started at the recorded time, and is no zombie.

    A child of this process that has ended is reaped.
    """
    _reap(process.pid)
    return started(process.pid) == process.started != ""


def end(process: Process, grace_s: float = 10.0) -> str:
    """End the process and its group: SIGTERM, then SIGKILL after `grace_s`; remove the record.

    Return "gone" (it no longer ran), "terminated" or "killed".
    """
    how = "gone"
    if alive(process):
        thaw(process)
        _signal(process, signal.SIGTERM)
        how = "terminated"
        if not waiting.until(lambda: not alive(process), grace_s):
            how = "killed"
    kill(process)
    process.record.unlink(missing_ok=True)
    return how


def kill(process: Process) -> None:
    """Send SIGKILL to all its members, including those that outlived their leader; the record stays.

    Return once all are gone: a process that the kernel has not yet removed still holds its ports.
    """
    for _ in range(5):  # what a member had just started is found the next time
        group = members(process)
        if not group and not alive(process):
            return
        send(process.pid, signal.SIGKILL, process.started)
        for pid, since in group.items():
            send(pid, signal.SIGKILL, since)
        waiting.until(partial(_gone, {**group, process.pid: process.started}), 5.0)


def freeze(process: Process) -> None:
    """Suspend its members (SIGSTOP), the leader first: they hang, and their sockets stay open."""
    send(process.pid, signal.SIGSTOP, process.started)
    suspended: dict[int, str] = {}
    while fresh := {pid: since for pid, since in members(process).items() if pid not in suspended}:
        for pid, since in fresh.items():
            send(pid, signal.SIGSTOP, since)
        suspended |= fresh


def thaw(process: Process) -> None:
    """Let suspended members run again."""
    for pid, since in members(process).items():
        send(pid, signal.SIGCONT, since)


def recorded(folder: Path) -> list[Process]:
    """Return every process that was started into `folder`, by records and by marks, whether it runs or not."""
    by_pid = {process.pid: process for process in records(folder)}
    for stray in _marked(folder):
        by_pid.setdefault(stray.pid, stray)
    return sorted(by_pid.values(), key=lambda process: process.name)


def records(folder: Path) -> Iterator[Process]:
    """Yield the recorded processes of `folder`; skip a record that cannot be read: its process has a mark."""
    for path in folder.glob("*.json"):
        if process := _read(path):
            yield process


def find(folder: Path, name: str) -> Process | None:
    """Return the process that is recorded in `folder` as `name`; None when there is none."""
    return _read(folder / f"{name}.json")


def _read(path: Path) -> Process | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        command = tuple(record["command"])
        return Process(record["name"], int(record["pid"]), record["started"], path.parent, command, record["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _marked(folder: Path) -> Iterator[Process]:
    """Yield the processes with the mark of `folder` whose name has no record; of a session, only its leader."""
    import psutil  # only here and below: it takes a while to import, and most callers need no more than the records

    mark, known = str(folder.resolve()), {process.name: process.pid for process in records(folder)}
    found = {}
    for pid in psutil.pids():
        variables = pids.environment(pid) or {}
        if variables.get(MARK) == mark and variables.get(NAME_MARK) not in known:
            with contextlib.suppress(OSError):
                found[pid] = os.getsid(pid)
    for pid, session in found.items():
        if session == pid or session not in {*found, *known.values()}:
            with contextlib.suppress(psutil.Error):
                command = tuple(psutil.Process(pid).cmdline())
                yield Process(f"stray-{pid}", pid, started(pid) or "", folder, command)


def members(process: Process) -> dict[int, str]:
    """Return the processes of that leader, each with its start: of its session, and those that left it.

    A process that the kernel is removing has no environment any more, and still holds its ports: it is a member, too.
    """
    import psutil

    mine, leads, found = marks(process.folder, process.name), alive(process), {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            variables = pids.environment(pid)
            in_session = os.getsid(pid) == process.pid
            ours = leads or variables == {} or (variables or {}).get(MARK) == mine[MARK]
            if ((in_session and ours) or mine.items() <= (variables or {}).items()) and (since := started(pid)):
                found[pid] = since
    return found


def send(pid: int, number: signal.Signals, since: str) -> None:
    """Send a signal to `pid`, if it is still the process that started at `since`."""
    if started(pid) == since:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _gone(group: Mapping[int, str]) -> bool:
    for pid in group:
        _reap(pid)
    return all(started(pid) != since for pid, since in group.items())


def _signal(process: Process, number: signal.Signals) -> None:
    """Signal the group of the process, or the process alone where it leads none."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        send(process.pid, number, process.started)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _document(process: Process) -> str:
    document = {**asdict(process), "folder": str(process.folder)}
    return json.dumps(document, indent=1) + "\n"
