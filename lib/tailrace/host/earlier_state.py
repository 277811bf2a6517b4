"""What an earlier version left open to other users is closed, once, by the first command that finds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from tailrace.host import files, lock

OTHERS = 0o077
GUARD = "tightening.lock"
ENVIRONMENT = "pyvenv.cfg"
"""In a folder with this file, uv links public packages from its cache: their modes are for all of its environments."""


def tighten(folder: Path) -> None:
    """Take every right to `folder`, and to what is below it, from other users; one that is closed costs one look.

    A file that may be locked is made anew, because who has it open keeps the right to lock it: unless a process of this
    user has it open. What belongs to somebody else stays as it is.
    """
    if not _is_open(folder):
        return
    with contextlib.suppress(PermissionError, FileNotFoundError):
        folder.chmod(files.FOLDER)
        with lock.opened(folder / GUARD, "ab"):
            _tighten_below(folder)
            (folder / GUARD).unlink()


def _tighten_below(folder: Path) -> None:
    for here, folders, names in os.walk(folder):
        if ENVIRONMENT in names:
            folders.clear()
            continue
        for path in map(Path(here).joinpath, (*folders, *names)):
            with contextlib.suppress(OSError):
                if _is_open(path):
                    _close(path)


def _is_open(path: Path) -> bool:
    """Return whether another user has a right to `path`; a link has none of its own."""
    try:
        state = path.lstat()
    except OSError:
        return False
    return not stat.S_ISLNK(state.st_mode) and bool(state.st_mode & OTHERS)


def _close(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
    if path.is_file() and (path.name in ("lock", "journal.jsonl") or path.suffix == ".lock"):
        _renew(path)


def _renew(path: Path) -> None:
    """Put a copy in the place of `path`, unless a process of this user has locked it."""
    with path.open("rb") as file:
        state = os.fstat(file.fileno())
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _ours_has_open(state):
                return
        files.replace(path, file.read())
        if os.geteuid() == 0:
            os.chown(path, state.st_uid, state.st_gid)


def _ours_has_open(state: os.stat_result) -> bool:
    """Return whether another process of this user, of the file's owner or of root has that file open."""
    ours = {0, os.geteuid(), state.st_uid}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.name != str(os.getpid()) and process.stat().st_uid in ours and _has_open(process, state):
                return True
    return False


def _has_open(process: Path, state: os.stat_result) -> bool:
    for handle in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if os.path.samestat(handle.stat(), state):
                return True
    return False
