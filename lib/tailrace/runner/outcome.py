"""The outcome of a step, from how its execution ended and from the result that it wrote, never from papermill."""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterable
from typing import Any, Final

from tailrace import system_errors
from tailrace.errors import MachineRefused, PartMissing, RecordsError
from tailrace.host import files
from tailrace.run.folder import RunDir
from tailrace.run.record import RunCheck, StepOutcome
from tailrace.runner.execution import ExecutionResult
from tailrace.verdict import EXIT_CODES, FAIL, INCONCLUSIVE, SKIPPED, Verdict, fold, of_ok, parse, state_of

COULD_NOT_RUN: Final = (PartMissing.__name__, MachineRefused.__name__)
"""What a cell raises where the machine is at fault, and not the service."""


def step_outcome(
    run: RunDir, step: str, execution: ExecutionResult, duration_s: float, before: str = ""
) -> StepOutcome:  # fmt: skip
    """Return the outcome of `step`, and write its verdict into a result that has none or another.

    `before` says which earlier step failed or could not run: "" when none.
    """
    result = _read_result(run, step)
    verdict, reason = _decide(result.get("verdict"), execution, before)
    if verdict != result.get("verdict"):
        completed = {"step": step, "checks": [], **result, "verdict": verdict, "reason": reason}
        files.replace(run.result(step), json.dumps(completed, indent=2) + "\n")
    missing = execution.exception in COULD_NOT_RUN or _of_machine(execution)
    return StepOutcome(
        name=step, verdict=verdict, duration_s=round(duration_s, 3), reason=reason, could_not_run=missing
    )


def overall(steps: Iterable[StepOutcome], checks: Iterable[RunCheck]) -> Verdict:
    """Return FAIL when a step or a check of the run failed, else INCONCLUSIVE when one is or when no step was run."""
    return fold([fold(step.verdict for step in steps), *(of_ok(check.ok) for check in checks)])


def exit_code(verdict: Verdict, steps: Iterable[StepOutcome], refused: bool = False) -> int:
    """Return the exit status of a run: 3 when all that is known against it is that a step could not run.

    `refused`: the machine did not let a check of the run be made, which is the same.
    """
    missing = refused or any(step.could_not_run for step in steps)
    return PartMissing.exit_code if missing and verdict == INCONCLUSIVE else EXIT_CODES[verdict]


def passed_checks(run: RunDir, steps: Iterable[StepOutcome]) -> dict[str, str]:
    """Return "7 of 8" for each step that made checks; skipped checks do not count."""
    counts = {}
    for step in steps:
        checks = _read_result(run, step.name).get("checks")
        if isinstance(checks, list):
            decided = [check for check in checks if state_of(check) != SKIPPED]
            counts[step.name] = f"{sum(check['ok'] is True for check in decided)} of {len(decided)}"
    return counts


def _decide(written: object, execution: ExecutionResult, before: str) -> tuple[Verdict, str]:
    """Return verdict and reason of a step that has written this verdict."""
    if execution.status == "interrupted":
        return INCONCLUSIVE, execution.reason
    if execution.exception == "StepFailed" and written == FAIL:
        return FAIL, ""  # its checks say why
    if execution.exception in COULD_NOT_RUN:
        return INCONCLUSIVE, f"could not run: {execution.reason.partition(f'{execution.exception}: ')[2]}"
    if _of_machine(execution):
        return INCONCLUSIVE, f"could not run: {execution.reason}"
    if execution.exception == RecordsError.__name__ and before:
        return INCONCLUSIVE, f"skipped: there are no records for it, because {before}"
    if execution.status != "completed":
        return FAIL, execution.reason
    if verdict := parse(written):
        return verdict, ""
    return FAIL, "it ended without a verdict: its last cell has to call step.finish()"


def _of_machine(execution: ExecutionResult) -> bool:
    """Return whether the machine refused what a cell, or papermill, did: a full disk is no finding on the service."""
    name = execution.exception or execution.reason.partition(":")[0]
    kind = getattr(builtins, name, None)
    is_system = isinstance(kind, type) and issubclass(kind, OSError)
    return execution.status == "error" and is_system and system_errors.in_text(execution.reason)


def _read_result(run: RunDir, step: str) -> dict[str, Any]:
    try:
        result = json.loads(run.result(step).read_bytes())
    except (OSError, ValueError):
        return {}
    return result if isinstance(result, dict) else {}
