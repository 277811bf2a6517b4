"""The files below the paths of a release's source: what counts, what is left out, and how many there may be."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

IGNORED = frozenset((
    ".git", ".hg", ".svn", "__pycache__", ".venv", "venv", ".tox", ".nox", "node_modules", ".tailrace", ".mypy_cache",
    ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".idea", ".vscode", ".DS_Store",
))  # fmt: skip
"""Names in a folder that are no part of its source: history, caches, and what a lock file describes."""
IGNORED_SUFFIXES = (".pyc", ".pyo", ".swp", "~", ".log", ".pid", ".sock")
MAX_FILES = 5_000
MAX_BYTES = 256 * 2**20


def files(root: Path) -> Iterator[Path]:
    """Yield every file at or below `root`, by name, through links to files and to folders, in no circle."""
    if root.is_file():
        yield root
    elif root.is_dir():
        yield from _below(root, frozenset())


def absolute(path: Path) -> Path:
    """Return the absolute path as it is spelled: links stay in it, `..` does not."""
    return Path(os.path.normpath(path.absolute()))


def ignored(name: str) -> bool:
    """Return whether a folder's entry of that name is no part of its source."""
    return name in IGNORED or name.endswith(IGNORED_SUFFIXES)


def within_bounds(roots: Iterable[Path]) -> bool:
    """Return whether `roots` hold as many files and bytes as a source may."""
    found = list(islice((path for root in roots for path in files(root)), MAX_FILES + 1))
    return len(found) <= MAX_FILES and sum(path.stat().st_size for path in found) <= MAX_BYTES


def _below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:  # a link to a folder that holds it
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if ignored(entry.name):
            continue
        if entry.is_dir():
            yield from _below(Path(entry.path), above | {real})
        elif entry.is_file():
            yield Path(entry.path)
