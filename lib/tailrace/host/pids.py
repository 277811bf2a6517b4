"""What the kernel says about a process, by its pid: when it started, and what descends from it.

Only the standard library is imported here, and little of it: the supervisor of an instance needs this, and stays small.
"""

from __future__ import annotations

import os


def started(pid: int) -> str | None:
    """Return when the kernel started `pid`, as a text that no other process shares; None when it does not run."""
    if not os.path.exists("/proc/self/stat"):
        return _started_by_psutil(pid)
    try:
        fields = _stat(pid)
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read(8)
    except OSError:
        return None
    # Ticks since boot: unlike a wall-clock time, they do not change when the clock is set.
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def descendants(pid: int) -> dict[int, int]:
    """Return the session of each process that descends from `pid` and has not ended; none where there is no /proc."""
    living = {each: facts for each, facts in _all().items() if facts[2] not in "ZX"}
    found: dict[int, int] = {}
    generation = {pid}
    while generation:
        generation = {child for child, (parent, *_) in living.items() if parent in generation} - found.keys()
        found |= {child: living[child][1] for child in generation}
    return found


def children(pid: int) -> list[int]:
    """Return the children of `pid`, also those that have ended and were not reaped."""
    return [child for child, (parent, *_) in _all().items() if parent == pid]


def name(pid: int) -> str:
    """Return the name of the program that `pid` runs, without its arguments, which may hold a secret; "" if gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def environment(pid: int) -> dict[str, str] | None:
    """Return the variables with which `pid` was started: none when it is gone or going, None if it is secret."""
    if not os.path.exists("/proc/self/environ"):
        return _environment_by_psutil(pid)
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            pairs = [pair.partition(b"=") for pair in file.read().split(b"\0") if pair]
    except PermissionError:
        return None
    except OSError:
        return {}
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, _, value in pairs}


def _environment_by_psutil(pid: int) -> dict[str, str] | None:
    import psutil

    try:
        return psutil.Process(pid).environ()
    except psutil.AccessDenied:
        return None
    except (psutil.Error, OSError):
        return {}


def _all() -> dict[int, tuple[int, int, str]]:
    """Return parent, session and state of every process."""
    found = {}
    for entry in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        try:
            if entry.isdigit():
                state, parent, _, session, *_ = _stat(int(entry))
                found[int(entry)] = int(parent), int(session), state
        except OSError:
            continue
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: state, parent, group, session, … (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return file.read().rpartition(")")[2].split()


def _started_by_psutil(pid: int) -> str | None:
    """Return the same where there is no /proc."""
    import psutil

    try:
        running = psutil.Process(pid)
        return None if running.status() == psutil.STATUS_ZOMBIE else f"{running.create_time():.3f}"
    except psutil.Error:
        return None
