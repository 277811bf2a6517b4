"""The folder for the records of a load: a new one, which no other load writes to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tailrace.errors import LoadError


@contextlib.contextmanager
def claimed(out: Path | None) -> Iterator[Path]:
    """Yield `out`, or a new folder below `loads/`; remove it at the end when it was made here and nothing is in it.

    Raises LoadError when `out` has something in it already, or cannot be made.
    """
    try:
        folder = _new() if out is None else out
        made = out is None or _make(folder)
        in_use = not made and any(folder.iterdir())
    except OSError as error:
        raise LoadError(
            f"--out: {error.filename or out} cannot be used: {error.strerror}; name another folder"
        ) from None
    if in_use:
        raise LoadError(
            f"--out {folder}: the folder is not empty, and records of two loads in one folder would be counted as one; "
            "name a new folder, or empty this one"
        )
    try:
        yield folder
    finally:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # removes an empty one only


def _new() -> Path:
    """Make `loads/<time>`, or `loads/<time>-2` and so on when another load began in the same second."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in count(1):
        folder = Path("loads") / (stamp if number == 1 else f"{stamp}-{number}")
        if _make(folder):
            return folder
    raise AssertionError


def _make(folder: Path) -> bool:
    """Make the folder; return False when it exists. `mkdir` is atomic, so that two processes never both make it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
