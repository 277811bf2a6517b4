"""Atomic, durable writes: a reader, also after a crash, sees the old content of a file or the new, never half."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path


def nothing(point: str) -> None:
    """Do nothing: the fault point of a process that no test kills."""


def write(path: Path, content: str, fault: Callable[[str], None] = nothing) -> int:
    """Replace `path` atomically and durably: write beside it, fsync, rename, fsync the directory.

    The rename is the commit: who watches the directory acts on it. Return its time (`time.perf_counter_ns`). `fault`
    is called right before the rename and right after it.
    """
    beside = _beside(path)
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fault(f"{path.stem}:rename:before")
        renamed_ns = time.perf_counter_ns()
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    fault(f"{path.stem}:rename:after")
    sync(path.parent)
    return renamed_ns


def replace(path: Path, content: str | bytes, mode: int = 0o666) -> None:
    """Replace `path` atomically, with its folder created; a crash of the machine may lose the new content.

    The new file has `mode`, less the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    """Return where the new content of `path` is written first: each thread of each process has its own."""
    return path.with_name(f".{path.name}.{threading.get_native_id()}.new")


def sync(directory: Path) -> None:
    """Make the entries of `directory` durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
