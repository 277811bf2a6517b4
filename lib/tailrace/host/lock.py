"""A lock between processes, which the kernel frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tailrace.errors import Locked
from tailrace.host import waiting

PATIENCE_S = 0.1


@contextlib.contextmanager
def hold(path: Path, doing: str, advice: str) -> Iterator[None]:
    """Hold the lock file `path` while the context is open; raises Locked, with `advice`, when another process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not _taken(file):
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Locked(f"{holder} is under way; {advice}")
        file.truncate(0)
        file.write(f"{doing} (pid {os.getpid()})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(path: Path) -> str:
    """Return the holder's own description, as "switch of local (pid 12)"; empty when nobody holds the lock."""
    return (path.read_text(encoding="utf-8").strip() or "another process") if is_held(path) else ""


def _taken(file: IO[str]) -> bool:
    """Take the lock; try for a moment, because `is_held` in another process takes it for an instant."""

    def taken() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    return waiting.until(taken, PATIENCE_S, every_s=0.005)


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
