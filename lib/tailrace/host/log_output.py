"""The end of a log that is rotated while it is read, and what is written into it from then on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tailrace.host import rotation

WINDOW_BYTES = 8 << 20
"""No more than this is read of what was written before."""
LOOK_EVERY_S = 0.1


def last(log: Path, lines: int) -> bytes:
    """Return the last `lines` lines of `log` and of its older parts, but no more than `WINDOW_BYTES`."""
    content = b""
    for path in reversed(rotation.files(str(log))):
        missing = WINDOW_BYTES - len(content)
        if missing <= 0 or content.count(b"\n") > lines:
            break
        content = _end(path, missing) + content
    return b"".join(content.splitlines(keepends=True)[-lines:]) if lines else b""


def output(log: Path, lines: int, goes_on: Callable[[], bool] | None = None) -> Iterator[bytes]:
    """Yield the last `lines` lines of `log`; with `goes_on`, also what is written while that returns true."""
    position, older = _size(log), _identity(log)
    yield last(log, lines)
    while goes_on:
        more = goes_on()
        if (now := _identity(log)) != older:
            moved = Path(f"{log}.1")
            yield from _blocks(moved, position)
            position, older = max(0, position - _size(moved)), now
            time.sleep(LOOK_EVERY_S)  # the part that was copied is cut off a moment later
        if position > _size(log):
            position = 0  # on a file system where the whole file is truncated
        for block in _blocks(log, position):
            position += len(block)
            yield block
        if not more:
            return
        time.sleep(LOOK_EVERY_S)


def _end(path: str, limit_bytes: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - limit_bytes))
            return file.read(limit_bytes)
    except FileNotFoundError:
        return b""


def _blocks(path: Path, position: int) -> Iterator[bytes]:
    """Yield what is in the file from `position` on."""
    try:
        with path.open("rb") as file:
            file.seek(position)
            while block := file.read(1 << 16):
                yield block
    except FileNotFoundError:
        return


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _identity(log: Path) -> tuple[int, int]:
    """Return what changes when `log` is rotated: the file that its older part is in."""
    try:
        found = Path(f"{log}.1").stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
