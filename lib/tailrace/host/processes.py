"""Detached processes that can be found, and ended, by whoever comes after the one that started them.

A process leads its own session and group. Its record holds the pid *and* when the kernel started it, because a
pid alone may by now belong to somebody else. Its environment carries a mark with the folder of the record, so
that even a process whose starter died before writing the record is found.
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

import psutil

from tailrace.errors import StartFailed
from tailrace.host import files, waiting

MARK = "SPAWNED_INTO"
"""Name of the environment variable with which a process is marked; its value is the folder of its record."""


@dataclass(frozen=True)
class Process:
    """One recorded process; `started` identifies the pid's owner across reboots and steps of the clock."""

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
        """Whether this very process still runs; one that has ended is reaped when it is a child of ours."""
        return alive(self)

    def tail(self, lines: int = 15) -> str:
        """Return the last lines that it wrote."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


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

    Output goes to `<folder>/<name>.log`, which is appended to.
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
    # It is ended through its record, maybe by another process than this one: Popen shall forget it.
    child.returncode = 0
    fault("spawned")
    files.write(process.record, _document(process))
    return process


def alive(process: Process) -> bool:
    """Return whether this very process runs: the pid lives, was started when the record says, and is no zombie."""
    _reap(process.pid)
    return started(process.pid) == process.started != ""


def end(process: Process, grace_s: float = 10.0) -> str:
    """End the process and its group: SIGTERM, then SIGKILL after `grace_s`; remove the record.

    Returns how it went: "gone" (it did not run any more), "terminated" or "killed".
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
    """SIGKILL to the group, children that outlived their leader included; the record stays.

    Returns once all are gone: one that is still being taken apart has its ports.
    """
    group = _group(process)
    if alive(process) or group:
        _signal(process, signal.SIGKILL)
        waiting.until(lambda: not alive(process) and all(started(pid) != since for pid, since in group.items()), 5.0)


def freeze(process: Process) -> None:
    """Stop the group from running (SIGSTOP): it hangs, and its sockets stay open."""
    if alive(process):
        _signal(process, signal.SIGSTOP)


def thaw(process: Process) -> None:
    """Let a frozen group run again."""
    if alive(process):
        _signal(process, signal.SIGCONT)


def recorded(folder: Path) -> list[Process]:
    """Return what was started into `folder`, by its records and by its marks, running or not, by name."""
    found = {process.pid: process for process in records(folder)}
    for stray in _marked(folder):
        found.setdefault(stray.pid, stray)
    return sorted(found.values(), key=lambda process: process.name)


def records(folder: Path) -> Iterator[Process]:
    """Yield what the records in `folder` say; one that cannot be read is passed over: its process has a mark."""
    for path in folder.glob("*.json"):
        if process := _read(path):
            yield process


def find(folder: Path, name: str) -> Process | None:
    """Return the process that is recorded in `folder` as `name`."""
    return _read(folder / f"{name}.json")


def started(pid: int) -> str | None:
    """Return when the kernel started `pid`, as a text that no other process shares; None when it does not run."""
    try:
        if not Path("/proc/self/stat").exists():
            running = psutil.Process(pid)
            return None if running.status() == psutil.STATUS_ZOMBIE else f"{running.create_time():.3f}"
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, psutil.Error):
        return None
    # Ticks since boot: unlike a wall-clock time, they do not move when the clock is set.
    return None if fields[0] in "ZX" else f"{boot[:8]}:{fields[19]}"


def _read(path: Path) -> Process | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        command = tuple(told["command"])
        return Process(told["name"], int(told["pid"]), told["started"], path.parent, command, told["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _marked(folder: Path) -> Iterator[Process]:
    """Leaders of sessions whose environment says that they were started into `folder`."""
    mark = str(folder.resolve())
    for running in psutil.process_iter():
        try:
            if running.environ().get(MARK) == mark and os.getsid(running.pid) == running.pid:
                command = tuple(running.cmdline())
                yield Process(f"stray-{running.pid}", running.pid, started(running.pid) or "", folder, command)
        except (psutil.Error, OSError):
            continue


def _group(process: Process) -> dict[int, str]:
    """Return who of ours is in the group of that leader, and since when."""
    members = {}
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == process.pid and not _is_stranger(process, pid) and (since := started(pid)):
                members[pid] = since
    return members


def _is_stranger(process: Process, pid: int) -> bool:
    """Whether it was not started into the same folder: the mark keeps us from a stranger's group.

    One that is being taken apart has no environment any more, and still has its ports.
    """
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
