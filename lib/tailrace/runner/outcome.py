"""What a step's end means: from how its kernel ended and from the results that it wrote, never from papermill."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tailrace.host import files
from tailrace.run.folder import RunDir
from tailrace.run.record import RunCheck, StepOutcome
from tailrace.runner.execution import Ended
from tailrace.verdict import FAIL, INCONCLUSIVE, Verdict, fold, of_ok, parse


def of(run: RunDir, step: str, ended: Ended, duration_s: float) -> StepOutcome:
    """Return the outcome of `step`; a result that has no verdict of its own is completed on disk."""
    result = _result(run, step)
    verdict, reason = _judged(result.get("verdict"), ended)
    if verdict != result.get("verdict"):
        completed = {"step": step, "checks": [], **result, "verdict": verdict, "reason": reason}
        files.replace(run.result(step), json.dumps(completed, indent=2) + "\n")
    return StepOutcome(name=step, verdict=verdict, duration_s=round(duration_s, 3), reason=reason)


def overall(steps: Iterable[StepOutcome], checks: Iterable[RunCheck]) -> Verdict:
    """Return FAIL when a step or a check of the run failed, else INCONCLUSIVE when one is or when no step was run."""
    return fold([fold(step.verdict for step in steps), *(of_ok(check.ok) for check in checks)])


def _judged(found: object, ended: Ended) -> tuple[Verdict, str]:
    if ended.how == "interrupted":
        return INCONCLUSIVE, ended.reason
    if ended.error == "StepFailed" and found == FAIL:
        return FAIL, ""  # the checks say why
    if ended.how != "done":
        return FAIL, ended.reason
    if verdict := parse(found):
        return verdict, ""
    return FAIL, "it ended without a verdict: its last cell has to call step.finish()"


def _result(run: RunDir, step: str) -> dict[str, Any]:
    try:
        result = json.loads(run.result(step).read_bytes())
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}
