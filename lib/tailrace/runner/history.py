"""What earlier runs took: the best guess at what this one will."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tailrace.errors import RecordsError
from tailrace.run.folder import RUNS, RunDir, RunRecord


def durations(root: Path, profile: str) -> dict[str, float]:
    """Return the seconds of each step in the last run of `profile` that passed with it; {} when none has yet."""
    known: dict[str, float] = {}
    for record in _newest_first(root):
        if record.kind == "run" and record.profile == profile and record.verdict == "PASS":
            known = {step.name: step.duration_s for step in record.steps} | known
    return known


def unfinished(root: Path) -> list[RunDir]:
    """Return the runs that say that they are under way."""
    runs = [RunDir(path.parent) for path in sorted((root / RUNS).glob("*/run.json")) if not path.parent.is_symlink()]
    return [run for run in runs if (record := _read(run)) and record.verdict is None and record.kind == "run"]


def _newest_first(root: Path, at_most: int = 50) -> Iterator[RunRecord]:
    folders = sorted((p for p in (root / RUNS).glob("*-*") if not p.is_symlink()), reverse=True)
    for folder in folders[:at_most]:
        if record := _read(RunDir(folder)):
            yield record


def _read(run: RunDir) -> RunRecord | None:
    try:
        return run.read()
    except RecordsError:
        return None
