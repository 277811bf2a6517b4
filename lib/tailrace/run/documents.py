"""The JSON documents of a run, read without trust: a missing or damaged document is empty.

A report is written for a run that died half-way, too, so its readers start from here and not from `RunDir.read`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailrace.run.folder import RunDir


def run(run_dir: Path) -> dict[str, Any]:
    """Return run.json; empty when there is none."""
    return read(RunDir(run_dir).record)


def profile(run_dir: Path) -> dict[str, Any]:
    """Return the resolved profile; empty when there is none."""
    return read(RunDir(run_dir).profile)


def result(run_dir: Path, step: str) -> dict[str, Any]:
    """Return the result of `step`; empty when it left none."""
    return read(RunDir(run_dir).result(step))


def steps(run_dir: Path, listed: Sequence[str] = ()) -> list[str]:
    """Return the steps `listed`, in their order, then any others that left a result or a notebook."""
    return [*listed, *(step for step in RunDir(run_dir).steps() if step not in listed)]


def clock_ns(run_dir: Path) -> int:
    """Return the wall time at which the clock of the run's records stood at zero; 0 when the run has no clock."""
    clock = run(run_dir).get("clock")
    readings = clock if isinstance(clock, dict) else {}
    return int(readings.get("wall_ns") or 0) - int(readings.get("perf_ns") or 0)


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file at `path`; empty when it is missing, damaged or not an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
