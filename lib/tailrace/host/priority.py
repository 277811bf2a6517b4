"""A low CPU priority that can really be taken back, for a whole session of processes with all their threads.

A nice value is not enough, in two ways. A process that is not root may lower its priority and never raise it again
(RLIMIT_NICE is 0 by default). And where the kernel groups processes by session (autogroup, sched(7)), a nice value only
counts within a session. The nice value of an autogroup may be set to 0 again by its owner, and so may the weight of a
cgroup. What cannot be taken back is not done, and the reason is told.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Sequence

NORMAL = 0


def lower(nice: int, groups: Sequence[str] = ()) -> tuple[str, str]:
    """Lower the priority of this session before its program starts; return the way it was done, and a fact.

    The way is "" when nothing was done; the fact then says why. Call it as the leader of the session. A program that
    runs in a control group for the CPU, one of `groups`, has a share in that group's name, and no other.
    """
    if nice <= 0:
        return "", ""
    for group in groups:
        if _set_weight(group, nice):
            return group, f"the weight of nice {nice} in its control group"
    if grouped_by_session():
        if _set_autogroup(os.getpid(), nice):
            return "autogroup", f"autogroup nice {nice}"
        return "", "not at low CPU priority: the kernel groups processes by session, and refuses a nice value for them"
    if not _may_raise():
        return "", "not at low CPU priority: a nice value could not be taken back (no CAP_SYS_NICE, RLIMIT_NICE is 0)"
    return "nice", f"nice {nice}"


def restore(way: str, leader: int, members: Iterable[int]) -> str:
    """Give the session of `leader` the normal priority again; return "" or why that failed.

    `members` are its processes; each of their threads has a nice value of its own.
    """
    if way.startswith("/"):
        return "" if _set_weight(way, NORMAL) else f"the weight of {way} could not be set"
    if way == "autogroup":
        return "" if _set_autogroup(leader, NORMAL) else f"/proc/{leader}/autogroup could not be set to 0"
    if way == "nice":
        for pid in members:
            _renice(pid)
    return ""


def weight(nice: int) -> float:
    """Return the CPU weight of a nice value, of the normal one, as the kernel has it: a quarter less for each step."""
    return 1 / 1.25**nice


def _renice(pid: int) -> None:
    """Set every thread of `pid` to the normal priority; one that is started meanwhile inherits its creator's."""
    done: set[str] = set()
    for _ in range(10):
        try:
            threads = set(os.listdir(f"/proc/{pid}/task")) - done
        except OSError:
            return
        if not threads:
            return
        for thread in threads:
            try:
                os.setpriority(os.PRIO_PROCESS, int(thread), NORMAL)
            except OSError:
                continue
        done |= threads


def _set_weight(group: str, nice: int) -> bool:
    """Give the control group the CPU weight of a nice value."""
    share = weight(nice)
    for file, normal in (("cpu.weight", 100), ("cpu.shares", 1024)):
        if os.path.exists(f"{group}/{file}"):
            try:
                with open(f"{group}/{file}", "w", encoding="ascii") as written:
                    written.write(str(max(2, round(normal * share))))
            except OSError:
                return False
            return True
    return False


def _set_autogroup(pid: int, nice: int) -> bool:
    """Set the nice value of the autogroup; the kernel accepts one change in 0.1 s from who is not root."""
    for _ in range(20):
        try:
            with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
                file.write(str(nice))
        except BlockingIOError:
            time.sleep(0.03)
        except OSError:
            return False
        else:
            return True
    return False


def grouped_by_session() -> bool:
    """Return whether the kernel shares the CPU among sessions (sched(7), "The autogroup feature")."""
    return _read("/proc/sys/kernel/sched_autogroup_enabled").strip() == "1" and _in_root_group()


def _in_root_group() -> bool:
    """Return whether no cgroup for the CPU holds this process: only then do autogroups count (sched(7))."""
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(",") or (not controllers and "cpu" in _read(_CONTROLLERS).split()):
            return path == "/"
    return True


_CONTROLLERS = "/sys/fs/cgroup/cgroup.controllers"


def _may_raise() -> bool:
    """Return whether this process may set a nice value of 0 after a higher one."""
    try:
        limit = resource.getrlimit(resource.RLIMIT_NICE)[0]
    except (AttributeError, OSError, ValueError):
        limit = 0
    return limit == resource.RLIM_INFINITY or limit >= 20 or os.geteuid() == 0 or _has_sys_nice()


def _has_sys_nice() -> bool:
    """Return whether CAP_SYS_NICE (number 23) is among the effective capabilities."""
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 23 & 1)
    return False


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""
