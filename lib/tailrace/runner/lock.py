"""One run at a time in a project: a lock that the kernel of the system frees when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from tailrace.errors import Locked


@contextlib.contextmanager
def held(root: Path, doing: str) -> Iterator[None]:
    """Hold the run lock of the project while the context is open; raises Locked at once when another run has it."""
    path = root / ".tailrace" / "run.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Locked(f"{root.name}: {holder} is under way; wait for it, or end it by that pid") from None
        file.truncate(0)
        file.write(f"{doing} (pid {os.getpid()})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
