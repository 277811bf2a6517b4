"""Earlier runs of the project: how long their steps took, and which of them never ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tailrace.errors import RecordsError
from tailrace.run import documents
from tailrace.run.folder import RUNS, RunDir, all_runs
from tailrace.run.record import RunRecord
from tailrace.verdict import PASS


def durations(root: Path, profile: str) -> dict[str, float]:
    """Return the seconds of each step in the latest passing run of `profile` that had it; {} without such a run."""
    seconds: dict[str, float] = {}
    for record in _newest_first(root):
        if record.kind == "run" and record.profile == profile and record.verdict == PASS:
            seconds = {step.name: step.duration_s for step in record.steps} | seconds
    return seconds


def unfinished(root: Path) -> list[RunDir]:
    """Return the runs whose record says that they are under way; one that has a summary has ended."""
    others = (run for run in all_runs(root / RUNS) if not run.summary.exists())
    runs = (run for run in others if documents.run(run.path).get("verdict") is None)
    return [run for run in runs if (record := _read(run)) and record.verdict is None and record.kind == "run"]


def _newest_first(root: Path, at_most: int = 50) -> Iterator[RunRecord]:
    for run in reversed(all_runs(root / RUNS)[-at_most:]):
        if record := _read(run):
            yield record


def _read(run: RunDir) -> RunRecord | None:
    try:
        return run.read()
    except RecordsError:
        return None
