"""The outcome of a step, from how its execution ended and from the result that it wrote, never from papermill."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tailrace.host import files
from tailrace.run.folder import RunDir
from tailrace.run.record import RunCheck, StepOutcome
from tailrace.runner.execution import ExecutionResult
from tailrace.verdict import FAIL, INCONCLUSIVE, SKIPPED, Verdict, fold, of_ok, parse, state_of


def step_outcome(run: RunDir, step: str, execution: ExecutionResult, duration_s: float) -> StepOutcome:
    """Return the outcome of `step`, and write its verdict into a result that has none or another."""
    result = _read_result(run, step)
    verdict, reason = _decide(result.get("verdict"), execution)
    if verdict != result.get("verdict"):
        completed = {"step": step, "checks": [], **result, "verdict": verdict, "reason": reason}
        files.replace(run.result(step), json.dumps(completed, indent=2) + "\n")
    return StepOutcome(name=step, verdict=verdict, duration_s=round(duration_s, 3), reason=reason)


def overall(steps: Iterable[StepOutcome], checks: Iterable[RunCheck]) -> Verdict:
    """Return FAIL when a step or a check of the run failed, else INCONCLUSIVE when one is or when no step was run."""
    return fold([fold(step.verdict for step in steps), *(of_ok(check.ok) for check in checks)])


def passed_checks(run: RunDir, steps: Iterable[StepOutcome]) -> dict[str, str]:
    """Return "7 of 8" for each step that made checks; skipped checks do not count."""
    counts = {}
    for step in steps:
        checks = _read_result(run, step.name).get("checks")
        if isinstance(checks, list):
            decided = [check for check in checks if state_of(check) != SKIPPED]
            counts[step.name] = f"{sum(check['ok'] is True for check in decided)} of {len(decided)}"
    return counts


def _decide(written: object, execution: ExecutionResult) -> tuple[Verdict, str]:
    """Return verdict and reason of a step that has written this verdict."""
    if execution.status == "interrupted":
        return INCONCLUSIVE, execution.reason
    if execution.exception == "StepFailed" and written == FAIL:
        return FAIL, ""  # its checks say why
    if execution.status != "completed":
        return FAIL, execution.reason
    if verdict := parse(written):
        return verdict, ""
    return FAIL, "it ended without a verdict: its last cell has to call step.finish()"


def _read_result(run: RunDir, step: str) -> dict[str, Any]:
    try:
        result = json.loads(run.result(step).read_bytes())
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}
