"""The comparison of a run with an earlier one, for `tailrace run --baseline RUN` and `tailrace compare`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from tailrace.analysis import Comparison, compare, schedule
from tailrace.report import evidence, tables
from tailrace.run import documents
from tailrace.verdict import INCONCLUSIVE

TOLERANCE: Final = 0.2
SAME_CLOCK_NS: Final = 5 * 10**9
"""Clocks that started further apart than this belong to different machines, or to different boots of one."""


def against(run_dir: Path, baseline_dir: Path, tolerance: float = TOLERANCE, on: str = "") -> Comparison:
    """Return how the run at `run_dir` differs from the baseline, by the records `on` ("STEP/records:PHASE") of both.

    An empty `on` means the switch under load. Runs made at different times are compared by the windows of each, as
    before and after, and the comparison says so. The verdict is INCONCLUSIVE when the runs measured different things,
    or when the records of one are invalid.
    """
    runs = (baseline_dir, run_dir)
    names = [on or evidence.subject(path) for path in runs]
    before, after = (evidence.subject_records(path, name) for path, name in zip(runs, names, strict=True))
    apart = abs(documents.clock_ns(run_dir) - documents.clock_ns(baseline_dir)) > SAME_CLOCK_NS
    compared = compare(before, after, tolerance=tolerance, concurrent=False if apart else None)
    reasons = [] if names[0] == names[1] else [f"the runs measured different things: {names[1]} against {names[0]}"]
    for label, path, name, records in zip(("baseline", "run"), runs, names, (before, after), strict=True):
        invalid = evidence.invalid_reasons(path, evidence.EVERY, name) or schedule.invalid_reasons(records)
        reasons += [f"{label}: {reason}" for reason in invalid]
    if not reasons:
        return compared
    judgement = replace(compared.judgement, verdict=INCONCLUSIVE, text="; ".join([*reasons, compared.judgement.text]))
    return replace(compared, judgement=judgement)


def table(compared: Comparison) -> pd.DataFrame:
    """Return the comparison as text in columns: metric, windows, effect with interval, p, verdict."""
    return tables.compared(compared.table, "b over a")


def text(compared: Comparison) -> str:
    """Return the comparison for a terminal: the table, then the verdict with its reasons."""
    judged = compared.judgement
    return f"{table(compared).to_string(index=False)}\n\n{judged.verdict}  {judged.text}"


def document(compared: Comparison) -> dict[str, Any]:
    """Return the comparison for JSON: verdict, text, concurrent, and metrics, with null for unknown values."""
    judged = compared.judgement
    metrics = json.loads(compared.table.to_json(orient="records", double_precision=15))
    return {"verdict": judged.verdict, "text": judged.text, "concurrent": compared.concurrent, "metrics": metrics}
