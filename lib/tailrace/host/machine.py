"""What the machine did between two readings: processors, memory, throttling, and who used the processors.

    cores       processors that were busy, or that a group of processes used
    stolen      share of the time that the hypervisor gave to others
    io_wait     share of the time that processors waited for a disk
    throttled   share of the time that a control group was held back by its processor limit
    …_pressure  share of the time that a task waited for processor, memory or disk (Linux pressure stall information)

Processes are grouped by session: a service and its workers, or a run and its load generators. A figure that the machine
does not tell is NaN.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MACHINE = "machine"
"""The subject of the rows of all processes together."""
OTHERS = "other programs"
GROUPS = 8
"""Groups that are named in one reading, the busiest; the rest are one row."""
LEAST_CORES = 0.02
LEAST_NS = 100_000_000
"""Of an interval: the kernel counts the time of a processor in hundredths of a second."""
SHORT = 11
"""Characters of the longest pid: what is longer is the id of a container."""
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
_PRESSURES = ("cpu", "memory", "io")

Handles = Callable[[], Mapping[str, str]]
"""Returns the names of groups by the pid of their leader, or by the id of their container."""


class MachineRow(NamedTuple):
    """One subject over one interval, which ended at `t_ns` (`perf_counter_ns`)."""

    t_ns: int
    span_s: float
    subject: str
    cores: float
    of_cores: int
    """Processors that there are."""
    memory_mb: float
    """Memory in use, or resident."""
    of_memory_mb: float
    stolen: float = math.nan
    io_wait: float = math.nan
    throttled: float = math.nan
    cpu_pressure: float = math.nan
    memory_pressure: float = math.nan
    io_pressure: float = math.nan


class _Group(NamedTuple):
    """The processes of one session: seconds of processor time since their start, and resident bytes."""

    cpu_s: float
    resident: int


@dataclass(frozen=True)
class _Reading:
    t_ns: int
    busy_s: float
    stolen_s: float
    io_wait_s: float
    pressure_s: Mapping[str, float]
    throttled_s: Mapping[int, float]
    groups: Mapping[int, _Group]


def nobody() -> Mapping[str, str]:
    """Know no group by name."""
    return {}


@dataclass
class Machine:
    """Reads the machine; each call of `rows` returns what happened since the one before, if that is not too short."""

    handles: Handles = nobody
    _last: _Reading | None = field(default=None, init=False)
    _names: dict[str, str] = field(default_factory=dict, init=False)
    _cgroups: dict[int, str] = field(default_factory=dict, init=False)

    def rows(self) -> list[MachineRow]:
        """Return a row of the whole machine, and one of each of the busiest groups; nothing at the first call."""
        import psutil  # only here: it takes a while to import

        now, last = self._read(), self._last
        if last and now.t_ns - last.t_ns < LEAST_NS:
            return []
        self._last = now
        self._names.update(
            self.handles()
        )  # a name stays when its process has ended: its last interval is still to come
        if last is None:
            return []
        span_s = max((now.t_ns - last.t_ns) / 1e9, 1e-9)
        count, memory = psutil.cpu_count() or 1, psutil.virtual_memory()
        total_mb = memory.total / 1e6
        used = self._used(last, now, span_s)
        whole = MachineRow(
            now.t_ns, span_s, MACHINE, (now.busy_s - last.busy_s) / span_s, count,
            total_mb - memory.available / 1e6, total_mb,
            (now.stolen_s - last.stolen_s) / span_s / count, (now.io_wait_s - last.io_wait_s) / span_s / count,
            self._throttled(last, now, os.getsid(0), span_s),
            *((now.pressure_s[name] - last.pressure_s[name]) / span_s for name in _PRESSURES),
        )  # fmt: skip
        named = [
            MachineRow(now.t_ns, span_s, self._name(leader), cores, count, now.groups[leader].resident / 1e6, total_mb,
                       throttled=self._throttled(last, now, leader, span_s))
            for leader, cores in used[:GROUPS]
        ]  # fmt: skip
        rest = sum(cores for _, cores in used[GROUPS:])
        others = [MachineRow(now.t_ns, span_s, OTHERS, rest, count, math.nan, total_mb)] if rest > LEAST_CORES else []
        return [whole, *named, *others]

    def _read(self) -> _Reading:
        import psutil

        times = psutil.cpu_times()
        io_wait_s, stolen_s = getattr(times, "iowait", 0.0), getattr(times, "steal", 0.0)
        # Guests are in `user` already.
        busy_s = sum(times) - times.idle - io_wait_s - stolen_s - getattr(times, "guest", 0.0)
        groups = _groups()
        known = self._cgroups
        self._cgroups = {leader: known[leader] if leader in known else _cgroup(leader) for leader in groups}
        held_s = {path: _throttled_s(path) for path in set(self._cgroups.values())}
        throttled = {leader: held_s[self._cgroups[leader]] for leader in groups}
        pressure = {name: _pressure_s(name) for name in _PRESSURES}
        return _Reading(time.perf_counter_ns(), busy_s, stolen_s, io_wait_s, pressure, throttled, groups)

    def _used(self, last: _Reading, now: _Reading, span_s: float) -> list[tuple[int, float]]:
        """Return the processors that each group used, the busiest first."""
        none = _Group(0.0, 0)
        used = ((pid, (group.cpu_s - last.groups.get(pid, none).cpu_s) / span_s) for pid, group in now.groups.items())
        return sorted((pair for pair in used if pair[1] > LEAST_CORES), key=lambda pair: -pair[1])

    def _throttled(self, last: _Reading, now: _Reading, leader: int, span_s: float) -> float:
        before, after = last.throttled_s.get(leader, math.nan), now.throttled_s.get(leader, math.nan)
        return (after - before) / span_s

    def _name(self, leader: int) -> str:
        if name := self._names.get(str(leader)):
            return name
        inside = self._cgroups.get(leader, "")
        container = (name for handle, name in self._names.items() if len(handle) > SHORT and handle in inside)
        return next(container, "this run" if leader == os.getsid(0) else _command(leader))


def _groups() -> dict[int, _Group]:
    """Return all sessions by the pid of their leader; empty where there is no /proc."""
    groups: dict[int, _Group] = {}
    for text in _stats():
        fields = text.rpartition(")")[2].split()
        session = int(fields[3])
        before = groups.get(session, _Group(0.0, 0))
        # With the children that were waited for: a worker that has ended spent its time all the same.
        ticks = sum(int(field) for field in fields[11:15])
        groups[session] = _Group(before.cpu_s + ticks * _TICK_S, before.resident + int(fields[21]) * _PAGE)
    return groups


def _stats() -> Iterator[str]:
    if not Path("/proc/self/stat").exists():
        return
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended in between
                handle = os.open(f"/proc/{entry.name}/stat", os.O_RDONLY)  # half the time of a file object
                try:
                    yield os.read(handle, 1_024).decode("utf-8", "replace")
                finally:
                    os.close(handle)


def _command(pid: int) -> str:
    """Return the name of its program; never its arguments, which may hold a secret."""
    if pid == 0:
        return "the kernel"
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text(encoding='utf-8', errors='replace').strip()} (pid {pid})"
    except OSError:
        return f"pid {pid}"


def _cgroup(pid: int) -> str:
    """Return the control group that limits the processors of `pid`, as the folder of its `cpu.stat`; "" for none."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or "cpu" in controllers.split(","):
            mount = "/sys/fs/cgroup" + ("/cpu" if controllers else "")
            if Path(f"{mount}{path}/cpu.stat").is_file():
                return f"{mount}{path}"
    return ""


def _throttled_s(cgroup: str) -> float:
    """Return for how long the control group was held back since its start; NaN when it has no such count."""
    try:
        lines = Path(f"{cgroup}/cpu.stat").read_text(encoding="ascii").splitlines() if cgroup else []
    except OSError:
        return math.nan
    counts = dict(line.split() for line in lines)
    if "throttled_usec" in counts:  # control groups, version 2
        return int(counts["throttled_usec"]) / 1e6
    return int(counts["throttled_time"]) / 1e9 if "throttled_time" in counts else math.nan


def _pressure_s(resource: str) -> float:
    """Return for how long some task has waited for the resource since boot; NaN where the kernel does not tell."""
    try:
        first = Path(f"/proc/pressure/{resource}").read_text(encoding="ascii").splitlines()[0]
        return int(first.rpartition("total=")[2]) / 1e6
    except (OSError, LookupError, ValueError):
        return math.nan
