"""A lock between processes, which the kernel frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tailrace.errors import Locked
from tailrace.host import files, waiting

PATIENCE_S = 0.1


@contextlib.contextmanager
def hold(path: Path, doing: str, advice: str) -> Iterator[None]:
    """Hold the lock file `path` while the context is open; raises Locked, with `advice`, when another process does."""
    files.make_folder(path.parent)
    file = waiting.until(lambda: _taken(path), PATIENCE_S, every_s=0.005)
    if not file:
        raise Locked(f"{holder(path) or 'another process'} is under way; {advice}")
    with file:
        file.truncate(0)
        with contextlib.suppress(OSError):  # a full disk takes the name of the holder, and not the lock
            os.write(file.fileno(), f"{doing} (pid {os.getpid()})".encode())
        try:
            yield
        finally:
            file.truncate(0)


def holder(path: Path) -> str:
    """Return the holder's own description, as "switch of local (pid 12)"; empty when nobody holds the lock."""
    return (path.read_text(encoding="utf-8").strip() or "another process") if is_held(path) else ""


def opened(path: Path, mode: str, wait: bool = True) -> IO[Any]:
    """Open `path` and lock it; raises BlockingIOError when another process has the lock and `wait` is false.

    The file may have been replaced or removed meanwhile (`earlier_state.tighten`): it is opened again then.
    """
    while True:
        file = open(path, mode, opener=files.private)  # noqa: SIM115 (the caller closes it)
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _taken(path: Path) -> IO[str] | None:
    """Return the file with the lock, or None; `is_held` in another process takes it for an instant."""
    try:
        return opened(path, "a+", wait=False)
    except BlockingIOError:
        return None


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock now."""
    try:
        with path.open("r", encoding="utf-8") as file:
            fcntl.flock(
                file, fcntl.LOCK_SH | fcntl.LOCK_NB
            )  # shared: two callers of this function do not see each other
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
