"""How files and folders are made: for their user alone, whatever the umask; a file is replaced whole or not at all.

A reader, also after a crash, sees the old content of a file or the new, never half.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

FILE, FOLDER = 0o600, 0o700
"""The modes of what tailrace makes: another user reads nothing of it, and locks nothing."""
SHARED_FILE, SHARED_FOLDER = 0o640, 0o2750
"""The same where the edge in a container runs as another user, whose group the folder hands on."""
UMASK = 0o077
"""For a process whose files are made by others: Parquet, notebooks, Envoy."""
RESERVE_BYTES = 65_536


def make_folder(path: Path) -> Path:
    """Make the folder `path`, and those above it that are missing; return it. One that is there stays as it is."""
    try:
        path.mkdir(FOLDER)
    except FileNotFoundError:
        make_folder(path.parent)
        path.mkdir(FOLDER, exist_ok=True)
    except OSError:
        if not path.is_dir():
            raise
    return path


def private(path: str, flags: int) -> int:
    """Open a file as `open(…, opener=private)` does: where it is missing, it is made for its user alone."""
    return os.open(path, flags, FILE)


def nothing(point: str) -> None:
    """Do nothing: the fault point of a process that no test kills."""


def write(path: Path, content: str, fault: Callable[[str], None] = nothing) -> int:
    """Replace `path` atomically and durably: write beside it, fsync, rename, fsync the directory.

    The rename is the commit: who watches the directory acts on it. Return its time (`time.perf_counter_ns`). `fault`
    is called right before the rename and right after it. An OSError names the file.
    """
    beside = _beside(path)
    with _named(path):
        with os.fdopen(_create(beside, _mode(path.parent)), "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fault(f"{path.stem}:rename:before")
        renamed_ns = time.perf_counter_ns()
        beside.replace(path)
    fault(f"{path.stem}:rename:after")
    sync(path.parent)
    return renamed_ns


def replace(path: Path, content: str | bytes) -> None:
    """Replace `path` atomically, with its folder created; a crash of the machine may lose the new content."""
    make_folder(path.parent)
    beside = _beside(path)
    with _named(path):
        with os.fdopen(_create(beside, FILE), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        beside.replace(path)


def reserve(path: Path) -> None:
    """Keep room on the disk: who has to write an end on a full disk removes the file `path` first. Raises OSError."""
    replace(path, os.urandom(RESERVE_BYTES))  # zeros would take no room where the file system compresses


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Remove what was written beside `path`, and let an OSError that names no file name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        _beside(path).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Return where the new content of `path` is written first: each thread of each process has its own."""
    return path.with_name(f".{path.name}.{threading.get_native_id()}.new")


def _create(path: Path, mode: int) -> int:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    if mode != FILE:
        os.fchmod(handle, mode)  # our own umask would take it from the group
    return handle


def _mode(folder: Path) -> int:
    """Return the mode of a new file in `folder`: its group may read it where the folder was made `SHARED_FOLDER`."""
    return SHARED_FILE if folder.stat().st_mode & SHARED_FOLDER == SHARED_FOLDER else FILE


def sync(directory: Path) -> None:
    """Make the entries of `directory` durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
