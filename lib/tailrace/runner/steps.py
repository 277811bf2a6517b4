"""The steps of a run, one after the other: each notebook executed, watched and judged."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailrace.profile import Profile
from tailrace.run import events
from tailrace.run.folder import RunDir
from tailrace.run.record import StepOutcome
from tailrace.runner import execution, kernel, outcome
from tailrace.runner.display import Display
from tailrace.runner.interrupt import Interrupt
from tailrace.runner.kernel import Kernel, Started
from tailrace.runner.plan import Plan, PlannedStep
from tailrace.runner.provisioner import ForkServer
from tailrace.verdict import FAIL, INCONCLUSIVE, state_of

INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Work:
    """All that is needed to execute the steps, decided before the first kernel."""

    root: Path
    run: RunDir
    plan: Plan
    profile: Profile
    profile_name: str
    """As the user gave it: a name, or the path of a YAML file."""
    parameters: Mapping[str, Mapping[str, Any]]
    server: ForkServer | None = None
    """What kernels are forked from; without it each is a fresh interpreter."""


def execute(work: Work, display: Display, interrupt: Interrupt) -> tuple[StepOutcome, ...]:
    """Execute the plan and return how each step ended; after a FAIL only the steps that are `always` run."""
    outcomes: list[StepOutcome] = []
    for place, step in enumerate(work.plan.steps):
        failed = next((done.name for done in outcomes if done.verdict == FAIL), "")
        if interrupt or (failed and not step.always):
            why = f"{INTERRUPTED} before it" if interrupt else f"not reached: {failed} failed"
            outcomes.append(StepOutcome(name=step.name, verdict=INCONCLUSIVE, duration_s=0.0, reason=why))
            continue
        display.step(step.name, step.title, tuple(later.name for later in work.plan.steps[place + 1 :]))
        done = _one(work, step, display, interrupt)
        display.outcome(done)
        outcomes.append(done)
    return tuple(outcomes)


def _one(work: Work, step: PlannedStep, display: Display, interrupt: Interrupt) -> StepOutcome:
    run, name = work.run, step.name
    timeout_s = step.timeout_s or work.profile.step_timeout_s
    events.append(run.path, "step_started", step=name, timeout_s=timeout_s)
    started = time.monotonic()
    tail = Tail(run, display)
    job = execution.Job(work.root / step.notebook, run.notebook(name), _parameters(work, step), timeout_s)

    def interrupted() -> bool:
        if interrupt.signal:
            display.say(
                f"{interrupt.signal.name}: ending the kernel of {name}, then all that the run started", "yellow"
            )
        return bool(interrupt)

    ended = execution.execute(job, _kernel(work, name), interrupted, tail.follow)
    done = outcome.of(run, name, ended, time.monotonic() - started)
    events.append(run.path, "step_ended", step=name, **done.model_dump(exclude={"name"}))
    return done


def _kernel(work: Work, name: str) -> Kernel:
    def note(started: Started) -> None:
        events.append(work.run.path, "kernel_started", step=name, pid=started.pid, started=started.started)

    return Kernel(kernel.state(work.root), work.run.kernel_log(name), note, work.server)


def _parameters(work: Work, step: PlannedStep) -> dict[str, Any]:
    """Return what papermill injects; paths are relative to the notebook, so that no place of this machine is in it."""
    folder = (work.root / step.notebook).parent
    name = work.profile_name
    if name.endswith((".yaml", ".yml")):
        name = os.path.relpath(Path(name).resolve(), folder)
    return {**work.parameters[step.name], "profile": name, "run_dir": os.path.relpath(work.run.path, folder)}


class Tail:
    """Shows the checks of a run as they are written."""

    def __init__(self, run: RunDir, display: Display) -> None:
        self.run = run
        self.display = display
        self._offset = len(events.complete_lines(run.path))

    def follow(self) -> None:
        """Show what was written since the last call."""
        lines = events.complete_lines(self.run.path, self._offset)
        self._offset += len(lines)
        for event in events.parse(lines):
            if event.event == "check":
                fields = event.fields
                self.display.check(fields["name"], state_of(fields), fields.get("fact", ""))
