"""Python's compiled modules, which may hide an edit: they know a source by its size and the second of its change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def drop_doubtful(paths: Iterable[Path]) -> None:
    """Remove the bytecode of each module that was compiled in the second of its last change, or before it.

    A later edit in that second, of the same length, would go unseen: the instance would run the former code.
    """
    for path in paths:
        if path.suffix == ".py":
            with contextlib.suppress(OSError):
                _drop(path)


def _drop(path: Path) -> None:
    changed_s = int(path.stat().st_mtime)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        if int(compiled.stat().st_mtime) <= changed_s:
            compiled.unlink()
