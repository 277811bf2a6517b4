"""Execute the steps of a run one after the other: start the notebook, follow it, and decide its outcome."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailrace import masking, system_errors
from tailrace.masking import Mask
from tailrace.profile import Profile
from tailrace.run import events
from tailrace.run.folder import RunDir
from tailrace.run.record import StepOutcome
from tailrace.runner import execution, forking, outcome
from tailrace.runner.display import Display
from tailrace.runner.forking import ForkServer
from tailrace.runner.interrupt import Interrupt
from tailrace.runner.plan import Plan, PlannedStep
from tailrace.runner.session import Session
from tailrace.verdict import FAIL, INCONCLUSIVE, state_of

if TYPE_CHECKING:
    from tailrace.runner.kernel import Kernel

INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class RunContext:
    """Everything that the steps need; it is complete before the first kernel starts."""

    root: Path
    run: RunDir
    plan: Plan
    profile: Profile
    profile_name: str
    """As the user wrote it: a name, or the path of a YAML file."""
    parameters: Mapping[str, Mapping[str, Any]]
    server: ForkServer | None = None
    """Kernels are forked from it; without it each is a new interpreter."""

    @cached_property
    def mask(self) -> Mask:
        """What masks the secrets of the profile and of the environment in all that the run keeps and shows."""
        return Mask.of(masking.known(os.environ, self.profile.secret_names))


def execute(context: RunContext, display: Display, interrupt: Interrupt) -> tuple[StepOutcome, ...]:
    """Execute the plan and return the outcome of each step; after a FAIL, and after a step that
    could not run, only steps marked `always` run."""
    outcomes: list[StepOutcome] = []
    steps = context.plan.steps
    for place, step in enumerate(steps):
        stopped = next((_how(before) for before in outcomes if before.verdict == FAIL or before.could_not_run), "")
        if interrupt or (stopped and not step.always):
            reason = f"{INTERRUPTED} before it" if interrupt else f"not reached: {stopped}"
            outcomes.append(StepOutcome(name=step.name, verdict=INCONCLUSIVE, duration_s=0.0, reason=reason))
            continue
        display.step_started(step.name, step.title, tuple(later.name for later in steps[place + 1 :]))
        try:
            outcomes.append(_execute_step(context, step, display, interrupt, stopped))
        except OSError as error:  # of the runner itself; a notebook's own are in what it returns
            if not system_errors.of_machine(error):
                raise
            outcomes.append(_could_not_run(step.name, context.mask(system_errors.sentence(error, step.name))))
        display.step_ended(outcomes[-1])
    return tuple(outcomes)


def _could_not_run(name: str, why: str) -> StepOutcome:
    reason = f"could not run: {why}"
    return StepOutcome(name=name, verdict=INCONCLUSIVE, duration_s=0.0, reason=reason, could_not_run=True)


def _how(before: StepOutcome) -> str:
    """Return how a step ended that stops those after it."""
    return f"{before.name} could not run" if before.could_not_run else f"{before.name} failed"


def _execute_step(
    context: RunContext, step: PlannedStep, display: Display, interrupt: Interrupt, stopped: str
) -> StepOutcome:  # fmt: skip
    run, name = context.run, step.name
    timeout_s = step.timeout_s or context.profile.step_timeout_s
    events.append(run.path, "step_started", step=name, timeout_s=timeout_s)
    started_s = time.monotonic()
    checks = CheckFollower(run, display)
    notebook = context.root / step.notebook
    job = execution.NotebookJob(notebook, run.notebook(name), _parameters(context, step), timeout_s)

    def interrupted() -> bool:
        if interrupt.signal:
            message = f"{interrupt.signal.name}: ending the kernel of {name}, then all that the run started"
            display.print_line(message, "yellow")
        return bool(interrupt)

    result = execution.execute(job, _kernel(context, name), interrupted, checks.show_new)
    result = replace(result, reason=context.mask(result.reason))
    decided = outcome.step_outcome(run, name, result, time.monotonic() - started_s, stopped)
    events.append(run.path, "step_ended", step=name, **decided.model_dump(exclude={"name"}))
    return decided


def _kernel(context: RunContext, step: str) -> Kernel:
    from tailrace.runner.kernel import Kernel  # Jupyter takes a while to import: meanwhile the fork server imports

    def record(session: Session) -> None:
        events.append(context.run.path, "kernel_started", step=step, pid=session.pid, started=session.started)

    return Kernel(forking.state_folder(context.root), context.run.kernel_log(step), record, context.server)


def _parameters(context: RunContext, step: PlannedStep) -> dict[str, Any]:
    """Return what papermill injects. Paths are relative to the notebook, so they name no folder of this machine."""
    folder = (context.root / step.notebook).parent
    name = context.profile_name
    if name.endswith((".yaml", ".yml")):
        name = os.path.relpath(Path(name).resolve(), folder)
    return {**context.parameters[step.name], "profile": name, "run_dir": os.path.relpath(context.run.path, folder)}


class CheckFollower:
    """Shows the checks of a run as they are written."""

    def __init__(self, run: RunDir, display: Display) -> None:
        self.run = run
        self.display = display
        self._offset = len(events.complete_lines(run.path))

    def show_new(self) -> None:
        """Show the checks that were written since the last call."""
        lines = events.complete_lines(self.run.path, self._offset)
        self._offset += len(lines)
        for event in events.parse(lines):
            if event.event == "check":
                fields = event.fields
                self.display.check(fields["name"], state_of(fields), fields.get("fact", ""), fields.get("why", ""))
