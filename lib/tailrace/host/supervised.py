"""A detached process with a supervisor, which starts it again when it ends: the side of whoever starts and stops it.

The record is that of the supervisor, whose pid stays the same; which process serves now is in its state,
`<name>.state`. A supervisor that is killed leaves its program running, unsupervised, and the state tells which one
that is.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tailrace.errors import StartFailed
from tailrace.host import files, pids, processes, waiting
from tailrace.host.processes import Process

ACCEPTED_WITHIN_S = 10.0
NOTICED_WITHIN_S = 3.0
LIBRARY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Order:
    """What the supervisor keeps running, and how; `supervisor.Order` is this with the paths that follow from a name."""

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: Path | None = None
    counter: str = ""
    """The variable of its environment that gets the number of restarts; "" for none."""
    helper: Sequence[str] = ()
    """A command that is run before each restart, with a fact about the end, or "", as its last argument.

    It may print `{"command": …, "directory": …, "environment": …}`: what to start now, or `{"problem": why not}`. The
    path of its program is whole.
    """
    nice: int = 0
    """Its nice value until it is accepted."""
    groups: Sequence[str] = ()
    """The folders of the control groups that it runs in."""


@dataclass(frozen=True)
class State:
    """What the supervisor wrote last; `pid` is that of the program, and 0 while it does not run."""

    phase: str = ""
    """One of "running", "waiting" for its next start, or "ended" for good; "" where there is no supervisor."""
    pid: int = 0
    started: str = ""
    accepted: bool = False
    restarts: int = 0
    last_exit: str = ""
    ended_at: float = 0.0
    next_start: float = 0.0
    """Unix time of the next start, while it is waited for."""
    priority: str = ""
    """At which CPU priority it runs, or why not at the one that was wanted; "" when none was."""

    @property
    def runs(self) -> bool:
        """Whether this very program runs now."""
        return bool(self.pid) and pids.started(self.pid) == self.started != ""


def start(
    order: Order,
    folder: Path,
    name: str,
    labels: Mapping[str, str] | None = None,
    fault: Callable[[str], None] = files.nothing,
) -> Process:
    """Start a supervisor with its program, and record it in `folder`; raises StartFailed.

    The order goes through a pipe, so that what is secret in it is in no file, and in no list of processes.
    """
    files.make_folder(folder)
    process = Process(name, 0, "", folder, tuple(order.command), dict(labels or {}))
    state, marks = _state(process), processes.marks(folder, name)
    _forget(process)
    document = {
        **asdict(order), "environment": {**order.environment, **marks}, "state": str(state),
        "log": str(process.log), "directory": str(order.directory) if order.directory else None,
    }  # fmt: skip
    with open(process.log, "ab", opener=files.private) as log:
        child = subprocess.Popen(
            [sys.executable, "-sSP", "-m", "tailrace.host.supervisor", name],
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(LIBRARY), **marks}, cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True,
            umask=files.UMASK,
        )  # fmt: skip
    if problem := _problem(child, json.dumps(document).encode()):
        child.wait()
        _forget(process)
        raise StartFailed(f"{name}: cannot start {order.command[0]}: {problem}; check the command")
    try:
        return processes.record(child, replace(process, pid=child.pid), fault)
    except OSError:
        _forget(process)
        raise


def read(process: Process) -> State:
    """Return the state of the program of `process`."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        return State(**json.loads(_state(process).read_text(encoding="utf-8")))
    return State()


def alive(process: Process) -> bool:
    """Return whether the program runs now, whoever watches it; a process without a supervisor is its own program."""
    supervised = process.alive  # reaps the supervisor, if it was a child of this process
    state = read(process)
    return state.runs if state.phase else supervised


def accept(process: Process) -> State:
    """End the trial of the program, and its low priority; from here on it is started again. Return its state then.

    Raises OSError when its supervisor has no place to write that down.
    """
    _require_room(process)
    processes.send(process.pid, signal.SIGUSR1, process.started)
    waiting.until(lambda: read(process).accepted or not process.alive, ACCEPTED_WITHIN_S, every_s=0.002)
    if process.alive and not read(process).accepted:
        _require_room(process)
    return read(process)


def _require_room(process: Process) -> None:
    """Raise OSError where the state could not be written."""
    probe = process.folder / f"{process.name}.room"
    files.replace(probe, "for its state")
    probe.unlink()


def crash(process: Process) -> None:
    """Kill the program with its group, and return once it is gone; a supervisor starts it again if it was accepted."""
    state = read(process)
    if not state.phase:
        processes.kill(process)
    elif state.runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(state.pid, signal.SIGKILL)
        waiting.until(lambda: not state.runs, 5.0)


def end(process: Process, grace_s: float) -> str:
    """End program and supervisor as `processes.end` does, and forget the state; the log stays."""
    state, how = read(process), ""
    if state.runs and not process.alive:  # nobody is there to pass SIGTERM on
        processes.thaw(process)
        processes.send(state.pid, signal.SIGTERM, state.started)
        how = "terminated" if waiting.until(lambda: not state.runs, grace_s) else "killed"
    ended = processes.end(process, grace_s)
    _forget(process)
    return how or ended


def described(process: Process) -> str:
    """Return how the program stands: "running", "restarts 5, last exit: killed by signal 9, next start in 8 s", …"""
    waiting.until(lambda: not _unnoticed(process), NOTICED_WITHIN_S)
    supervised, state = process.alive, read(process)
    if not state.phase:
        return "running, unsupervised" if supervised else "ended"
    last = f"restarts {state.restarts}, last exit: {state.last_exit}" if state.last_exit else ""
    if state.runs:
        gone = "" if supervised else "its supervisor is gone, so nothing starts it again: redeploy"
        return "; ".join(filter(None, ("running", last, gone)))
    if state.phase == "waiting" and supervised:
        return f"{last}, next start in {max(0.0, state.next_start - time.time()):.0f} s"
    return f"ended: {state.last_exit}" if state.last_exit else "ended"


def _unnoticed(process: Process) -> bool:
    """Return whether the program has ended, and its supervisor has yet to write down how."""
    state = read(process)
    return state.phase == "running" and not state.runs and process.alive


def _problem(child: subprocess.Popen[bytes], order: bytes) -> str:
    """Give the supervisor its order, and return why it could not start the program; "" if it could."""
    assert child.stdin, "it was opened with a pipe"
    assert child.stdout, "it was opened with a pipe"
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(order)
    with child.stdout:
        answer = child.stdout.readline()
    return str(json.loads(answer)["problem"]) if answer else "its supervisor ended at once, see its log"


def _state(process: Process) -> Path:
    return process.folder / f"{process.name}.state"


def _forget(process: Process) -> None:
    """Remove the state, and what a full disk has left of a new one."""
    state = _state(process)
    for path in (state, state.with_name(f"{state.name}.new")):
        path.unlink(missing_ok=True)
