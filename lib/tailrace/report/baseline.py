"""A run against an earlier one: the gate of a scheduled run, `--baseline RUN`, and `tailrace compare`."""

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
"""Runs whose clocks began further apart than this are of different machines, or of different boots of one."""


def against(run_dir: Path, baseline_dir: Path, tolerance: float = TOLERANCE, on: str = "") -> Comparison:
    """Return how the run at `run_dir` differs from the baseline, over `on` ("<step>/records:PHASE") in both.

    When `on` is empty that is what stands for a run: the switch under load. Runs that were not made at the same
    time are compared window by window of their own; that is a comparison of before and after, and says so. Nothing
    is decided when the runs measured different things, or when a load generator did not keep its schedule.
    """
    runs = (baseline_dir, run_dir)
    names = [on or evidence.subject(path) for path in runs]
    before, after = (evidence.subject_records(path, name) for path, name in zip(runs, names, strict=True))
    apart = abs(documents.clock_ns(run_dir) - documents.clock_ns(baseline_dir)) > SAME_CLOCK_NS
    compared = compare(before, after, tolerance=tolerance, concurrent=False if apart else None)
    doubts = [] if names[0] == names[1] else [f"the runs measured different things: {names[1]} against {names[0]}"]
    for said, path, name, records in zip(("baseline", "run"), runs, names, (before, after), strict=True):
        reasons = evidence.invalid_reasons(path, evidence.EVERY, name) or schedule.invalid_reasons(records)
        doubts += [f"{said}: {reason}" for reason in reasons]
    if not doubts:
        return compared
    judgement = replace(compared.judgement, verdict=INCONCLUSIVE, text="; ".join([*doubts, compared.judgement.text]))
    return replace(compared, judgement=judgement)


def table(compared: Comparison) -> pd.DataFrame:
    """Return the comparison with its numbers written out: metric, windows, effect with interval, p, verdict."""
    return tables.compared(compared.table, "b over a")


def text(compared: Comparison) -> str:
    """Return the comparison for a terminal: the table, and the verdict with its reasons below it."""
    judged = compared.judgement
    return f"{table(compared).to_string(index=False)}\n\n{judged.verdict}  {judged.text}"


def document(compared: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON has it: verdict, text, concurrent, and metrics with null for what is not known."""
    judged = compared.judgement
    metrics = json.loads(compared.table.to_json(orient="records", double_precision=15))
    return {"verdict": judged.verdict, "text": judged.text, "concurrent": compared.concurrent, "metrics": metrics}
