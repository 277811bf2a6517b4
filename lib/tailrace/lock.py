"""One at a time: a lock that the kernel frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tailrace.errors import Locked


@contextlib.contextmanager
def hold(path: Path, doing: str, advice: str) -> Iterator[None]:
    """Hold the lock file `path` while the context is open; raises Locked, with `advice`, when somebody else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Locked(f"{holder} is under way; {advice}") from None
        file.truncate(0)
        file.write(f"{doing} (pid {os.getpid()})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def is_held(path: Path) -> bool:
    """Return whether somebody holds it now."""
    try:
        with path.open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
