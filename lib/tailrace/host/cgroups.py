"""Limits of memory, CPU and processes for a program and all that it starts, by the control groups of the kernel.

With cgroups v2, a group is made in the nearest folder above this process that its user may write to and that hands the
controller on (a delegated one). With v1, it is made below this process's group in the tree of each controller. A limit
that cannot be enforced is told, with the reason.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tailrace.host import waiting

PERIOD_US = 100_000
CONTROLLERS = {"memory_mb": "memory", "cpus": "cpu", "pids": "pids"}
"""The controller of each limit, by the names of a profile."""
PROC = Path("/proc/self")


@dataclass(frozen=True)
class Groups:
    """The folders of the groups that enforce the limits; `lacking` has the reason for each limit that none does."""

    folders: tuple[str, ...] = ()
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def fact(self) -> str:
        return "; ".join(f"limits.{name} is not enforced: {why}" for name, why in self.lacking.items())


def make(name: str, limits: Mapping[str, float], proc: Path = PROC) -> Groups:
    """Make the groups of that name for `limits`; one that is there gets the new limits."""
    folders, lacking = [], {}
    for limit, value in limits.items():
        controller = CONTROLLERS[limit]
        parent, version = _parent(controller, proc)
        if parent is None:
            lacking[limit] = f"no control group of {controller} is delegated to this user here"
            continue
        group = parent / name
        try:
            group.mkdir(exist_ok=True)
            for file, content in _settings(limit, value, version).items():
                (group / file).write_text(content, encoding="ascii")
            folders.append(str(group))
        except OSError as error:
            lacking[limit] = f"{group}: {error.strerror or error}"
    return Groups(tuple(dict.fromkeys(folders)), lacking)


def remove(folders: Sequence[str]) -> None:
    """Remove groups whose processes have ended; the kernel may need a moment to forget the last of them."""
    for folder in folders:
        waiting.until(lambda group=Path(folder): _removed(group), 1.0)  # type: ignore[misc]


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return not group.exists()
    return True


def _settings(limit: str, value: float, version: int) -> dict[str, str]:
    """Return what to write into which file of a group."""
    if limit == "pids":
        return {"pids.max": str(int(value))}
    if limit == "memory_mb":
        return {"memory.max" if version == 2 else "memory.limit_in_bytes": str(int(value) << 20)}
    quota = str(round(value * PERIOD_US))
    if version == 2:
        return {"cpu.max": f"{quota} {PERIOD_US}"}
    return {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": quota}


def _parent(controller: str, proc: Path) -> tuple[Path | None, int]:
    """Return the folder in which a group for `controller` may be made, and the version of its tree."""
    paths = {tuple(names.split(",")): path for _, names, path in _lines(proc / "cgroup", ":", 2)}
    for mount in _mounts(proc):
        own = next((path for names, path in paths.items() if controller in names), None)
        if mount.version == 1 and controller in mount.options and own is not None:
            folder = Path(mount.folder + own)
            return (folder if os.access(folder, os.W_OK) else None), 1
    for mount in _mounts(proc):
        if mount.version == 2:
            return _delegated(Path(mount.folder), paths.get(("",), "/"), controller), 2
    return None, 0


def _delegated(root: Path, own: str, controller: str) -> Path | None:
    """Return the nearest folder above the own one in which this user may make a group that has `controller`."""
    folder = root / own.lstrip("/")
    for above in (folder, *folder.parents):
        if root != above and root not in above.parents:
            return None
        if not (os.access(above, os.W_OK) and os.access(above / "cgroup.procs", os.W_OK)):
            continue
        if controller not in _words(above / "cgroup.subtree_control"):
            with contextlib.suppress(OSError):  # refused while the folder has processes of its own
                (above / "cgroup.subtree_control").write_text(f"+{controller}", encoding="ascii")
        if controller in _words(above / "cgroup.subtree_control"):
            return above
    return None


@dataclass(frozen=True)
class _Mount:
    folder: str
    version: int
    options: tuple[str, ...]


def _mounts(proc: Path) -> Iterator[_Mount]:
    for _, folder, kind, options, *_ in _lines(proc / "mounts", " ", -1):
        if kind in ("cgroup", "cgroup2"):
            yield _Mount(folder, 2 if kind == "cgroup2" else 1, tuple(options.split(",")))


def _lines(path: Path, separator: str, most: int) -> list[list[str]]:
    with contextlib.suppress(OSError):
        return [line.split(separator, most) for line in path.read_text(encoding="utf-8").splitlines()]
    return []


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii").split()
    return []
