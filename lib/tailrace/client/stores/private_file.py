"""The file of a store, made for its user alone: it holds prompts, answers and spending."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make(path: Path) -> None:
    """Make the file `path`, and the folders above it, where they are missing: modes 0600 and 0700, whatever the umask.

    SQLite gives its `-wal` and `-shm` the mode of the file. One that is there keeps its mode: its user may share it.
    """
    for folder in reversed(path.parents):
        if not folder.is_dir():
            folder.mkdir(0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
