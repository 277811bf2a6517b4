"""Detached processes, which another process than their starter can find and end.

A process leads its own session and group. Its record holds the pid *and* when the kernel started it, because a pid
alone may belong to another process by now. Its environment has a mark with the folder of the record, by which a
process is found even when its starter died before it wrote the record.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tailrace.errors import StartFailed
from tailrace.host import excerpts, files, waiting

MARK = "SPAWNED_INTO"
"""Environment variable that marks a process; its value is the folder of its record."""


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
    folder.mkdir(parents=True, exist_ok=True)
    marked = {**environment, MARK: str(folder.resolve())}
    try:
        with (folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                list(command), env=marked, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise StartFailed(f"{name}: cannot start {command[0]}: {error.strerror}; check the command") from None
    process = Process(name, child.pid, started(child.pid) or "", folder, tuple(command), dict(labels or {}))
    # The process is ended through its record, perhaps by another process: keep Popen from warning that it still runs.
    child.returncode = 0
    fault("spawned")
    files.write(process.record, _document(process))
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
    """Send SIGKILL to the group, including children that outlived their leader; the record stays.

    Return once all are gone: a process that the kernel has not yet removed still holds its ports.
    """
    group = _group(process)
    if alive(process) or group:
        _signal(process, signal.SIGKILL)
        waiting.until(lambda: not alive(process) and all(started(pid) != since for pid, since in group.items()), 5.0)


def freeze(process: Process) -> None:
    """Suspend the group (SIGSTOP): it hangs, and its sockets stay open."""
    if alive(process):
        _signal(process, signal.SIGSTOP)


def thaw(process: Process) -> None:
    """Let a suspended group run again."""
    if alive(process):
        _signal(process, signal.SIGCONT)


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


def started(pid: int) -> str | None:
    """Return when the kernel started `pid`, as a text that no other process shares; None when it does not run."""
    if not Path("/proc/self/stat").exists():
        return _started_by_psutil(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    # Ticks since boot: unlike a wall-clock time, they do not change when the clock is set.
    return None if fields[0] in "ZX" else f"{boot[:8]}:{fields[19]}"


def _started_by_psutil(pid: int) -> str | None:
    """Return the same where there is no /proc."""
    import psutil

    try:
        running = psutil.Process(pid)
        return None if running.status() == psutil.STATUS_ZOMBIE else f"{running.create_time():.3f}"
    except psutil.Error:
        return None


def _read(path: Path) -> Process | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        command = tuple(record["command"])
        return Process(record["name"], int(record["pid"]), record["started"], path.parent, command, record["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _marked(folder: Path) -> Iterator[Process]:
    """Yield the leaders of sessions that have the mark of `folder` in their environment."""
    import psutil  # only here and below: it takes a while to import, and most callers need no more than the records

    mark = str(folder.resolve())
    for running in psutil.process_iter():
        try:
            if running.environ().get(MARK) == mark and os.getsid(running.pid) == running.pid:
                command = tuple(running.cmdline())
                yield Process(f"stray-{running.pid}", running.pid, started(running.pid) or "", folder, command)
        except (psutil.Error, OSError):
            continue


def _group(process: Process) -> dict[int, str]:
    """Return the processes of ours in the group of that leader, each with its start."""
    import psutil

    members = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == process.pid and not _is_stranger(process, pid) and (since := started(pid)):
                members[pid] = since
    return members


def _is_stranger(process: Process, pid: int) -> bool:
    """Return whether `pid` was not started into the same folder, so that its group may be somebody else's.

    A process that the kernel is removing has no environment any more, and still holds its ports: it is no stranger.
    """
    import psutil

    try:
        environment = psutil.Process(pid).environ()
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OSError):
        return False
    return bool(environment) and environment.get(MARK) != str(process.folder.resolve())


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _document(process: Process) -> str:
    document = {**asdict(process), "folder": str(process.folder)}
    return json.dumps(document, indent=1) + "\n"
