"""Start a program as the leader of a group, with its output in a log: for the supervisor, which imports little."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NamedTuple


class Program(NamedTuple):
    """What to start: `environment` is all that it gets, `nice` its nice value."""

    command: list[str]
    directory: str | None
    environment: dict[str, str]
    log: str
    nice: int
    groups: list[str]
    """The folders of the control groups that it enters."""


class Memory:
    """Counts how often the kernel has killed a process of the control groups because their memory was used up."""

    def __init__(self, groups: list[str]) -> None:
        self.files = [f"{group}/{name}" for group in groups for name in ("memory.events", "memory.oom_control")]
        self.kills = self._count()

    def reason(self) -> str:
        """Return what to add to an end by SIGKILL: that memory was the reason, if it was since the last call."""
        before, self.kills = self.kills, self._count()
        return ", out of memory: see limits.memory_mb" if self.kills > before else ""

    def _count(self) -> int:
        for path in self.files:
            with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
        return 0


def start(program: Program) -> tuple[int, str]:
    """Start `program`; return its pid, or 0 and the reason."""
    failed, report = os.pipe()
    pid = os.fork()
    if not pid:
        _become(program, report)
    os.close(report)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)  # here, too: whoever comes first
    with os.fdopen(failed, "rb") as reader:
        problem = reader.read().decode("utf-8", "replace")
    if problem:
        os.waitpid(pid, 0)
        return 0, problem
    return pid, ""


def _become(program: Program, report: int) -> None:
    """Become the program; on a failure, write the reason into `report` and leave."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and a program inherits that
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        if program.nice:
            os.setpriority(os.PRIO_PROCESS, 0, program.nice)
        for group in program.groups:
            with open(f"{group}/cgroup.procs", "w", encoding="ascii") as procs:
                procs.write("0")  # the writer itself
        log = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        if program.directory:
            os.chdir(program.directory)
        os.execvpe(program.command[0], program.command, program.environment)  # noqa: S606 (no shell is wanted)
    except OSError as error:
        os.write(report, (error.strerror or str(error)).encode())
    finally:
        os._exit(127)
