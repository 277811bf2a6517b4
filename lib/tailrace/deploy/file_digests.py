"""Digests of files: streamed, so that a model of many gigabytes needs no memory, and remembered for large ones."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from tailrace.host import files

LARGE_BYTES = 8 * 2**20
SETTLED_NS = 2_000_000_000
"""A file that was changed this shortly ago is digested anew: its next change might leave the same times."""
REMEMBERED = 1_000


@dataclass(frozen=True)
class FileDigests:
    """Remembers the digests of large files in the file `memory`, by size, times and inode."""

    memory: Path

    def of(self, path: Path) -> str:
        """Return the sha256 of a file in hexadecimal digits; raises OSError."""
        state = path.stat()
        if state.st_size < LARGE_BYTES:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        known = self._read()
        mark = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev]
        if known.get(str(path), {}).get("mark") == mark:
            return str(known[str(path)]["sha256"])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - max(state.st_mtime_ns, state.st_ctime_ns) > SETTLED_NS and _unchanged(path, state):
            latest = [*self._read().items(), (str(path), {"mark": mark, "sha256": digest})]
            files.replace(self.memory, json.dumps(dict(latest[-REMEMBERED:])) + "\n")
        return digest

    def _read(self) -> dict[str, dict[str, object]]:
        try:
            known = json.loads(self.memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def _unchanged(path: Path, before: os.stat_result) -> bool:
    now = path.stat()
    return (now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (before.st_size, before.st_mtime_ns, before.st_ctime_ns)
