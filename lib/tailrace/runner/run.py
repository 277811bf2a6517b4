"""One execution of the plan, from checking the profile to the verdict."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailrace import profile
from tailrace.host import lock
from tailrace.profile import Profile
from tailrace.run import events
from tailrace.run.folder import RunDir, begin_run
from tailrace.run.record import RunRecord, StepOutcome
from tailrace.runner import cleanup, forking, history, outcome, parameters, plan, steps
from tailrace.runner.display import Display
from tailrace.runner.finalizer import BaselineGate, Finalizer
from tailrace.runner.forking import ForkServer, Preload
from tailrace.runner.interrupt import record_signals
from tailrace.runner.parameters import Override
from tailrace.runner.plan import Plan
from tailrace.runner.session import Session
from tailrace.runner.steps import RunContext
from tailrace.testbed import stack


@dataclass(frozen=True)
class RunOptions:
    """The user's choices for a run."""

    root: Path
    profile: str = "local"
    overrides: tuple[Override, ...] = ()
    only: tuple[str, ...] = ()
    baseline: Path | None = None
    """Folder of the run that this one must not be slower than."""
    tolerance: float = 0.2
    """By how much p99 may exceed the baseline's; 0.2: 20 %."""


@dataclass(frozen=True)
class PreparedRun:
    """Plan, profile and parameters of a run; all of them are valid."""

    plan: Plan
    profile: Profile
    parameters: Mapping[str, Mapping[str, Any]]
    baseline: RunDir | None = None


def prepare(options: RunOptions) -> PreparedRun:
    """Check all that can be checked before anything starts; raise ProfileError, PartMissing or RecordsError."""
    whole = plan.load(options.root)
    chosen = profile.load(options.profile, options.root)
    source = options.profile if options.profile.endswith((".yaml", ".yml")) else f"profile {options.profile}"
    values = parameters.check(whole, options.root, chosen, source, options.overrides)
    stack.preflight(chosen, options.root)
    baseline = RunDir.of(options.baseline) if options.baseline else None  # now: `runs/latest` is about to change
    return PreparedRun(whole.only(options.only) if options.only else whole.default, chosen, values, baseline)


def run(options: RunOptions, display: Display) -> RunRecord:
    """Run the runbook and return the finished `run.json`; its folder holds everything else.

    Raises ProfileError, PartMissing or Locked before anything has started. What happens after that is in the
    record. SIGINT, SIGTERM and SIGHUP end the run in order: the record says so, with exit code 128 + signal. A second
    one ends it at once, as one does before the run has begun: EndedAtOnce is raised.
    """
    with record_signals() as interrupt:
        prepared = prepare(options)
        with _lock(options.root, f"a run of profile {prepared.profile.name}"):
            before = history.unfinished(options.root)
            new = begin_run(options.root, prepared.profile)  # first: without a place for it, nothing is touched
            interrupt.begun = True
            for line in cleanup.sweep(options.root, prepared.profile, before):
                display.print_line(line, "yellow")
            names = [step.name for step in prepared.plan.steps]
            events.append(new.path, "run_started", profile=options.profile, steps=names)
            display.print_line(f"run {new.id}  profile {prepared.profile.name}  engine {prepared.profile.engine}")
            for note in prepared.profile.notes:
                display.print_line(f"note: {note}", "yellow")
            display.etas = history.durations(options.root, prepared.profile.name)
            outcomes: tuple[StepOutcome, ...] = ()
            with fork_server(options.root, new, prepared.plan) as server, display:
                context = RunContext(
                    options.root, new, prepared.plan, prepared.profile, options.profile, prepared.parameters, server
                )
                display.mask = context.mask
                try:
                    outcomes = steps.execute(context, display, interrupt)
                finally:
                    if not interrupt.at_once:
                        gate = BaselineGate(prepared.baseline, options.tolerance) if prepared.baseline else None
                        record = Finalizer(context, display, interrupt, outcomes, gate).finalize()
            display.summary(record, outcome.passed_checks(new, record.steps))
            return record


@contextlib.contextmanager
def fork_server(root: Path, run: RunDir, plan: Plan) -> Iterator[ForkServer | None]:
    """Run a fork server while the context is open. Only on Linux: macOS has libraries that do not survive a fork."""
    if sys.platform != "linux":
        yield None
        return
    environment = forking.environment(forking.state_folder(root), os.environ)
    preload = Preload.of([root / step.notebook for step in plan.steps])
    server = ForkServer(run.kernel_log("fork_server"), environment, preload)
    session = Session.of(server.pid)
    events.append(run.path, "fork_server_started", pid=session.pid, started=session.started)
    try:
        yield server
    finally:
        server.close()


def down(root: Path, profile_name: str) -> list[str]:
    """Stop everything that runs of the profile left, even what was to stay; return a sentence for each thing.

    Raises Locked while a run is under way. Needs no secrets.
    """
    chosen = profile.load(profile_name, root, environment=None)
    with _lock(root, f"tailrace down for profile {chosen.name}"):
        lines = list(cleanup.clean_up_killed_runs(root, chosen, history.unfinished(root)))
        if stopped := stack.down(chosen, root):
            lines.append(f"stopped: {', '.join(stopped)}")
        return lines


def _lock(root: Path, activity: str) -> AbstractContextManager[None]:
    """Hold the run lock of the project."""
    return lock.hold(root / ".tailrace" / "run.lock", activity, "wait for it, or end it by that pid")
