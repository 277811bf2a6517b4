"""One execution of the plan, from the refusal of a bad profile to the verdict."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailrace import profile
from tailrace.host import lock, processes
from tailrace.profile import Profile
from tailrace.run import events
from tailrace.run.folder import RunDir, create_run, point_latest
from tailrace.run.record import RunRecord, StepOutcome
from tailrace.runner import cleanup, history, interrupt, kernel, parameters, plan, steps
from tailrace.runner.display import Display
from tailrace.runner.ending import Ending, Gate
from tailrace.runner.parameters import Override
from tailrace.runner.plan import Plan
from tailrace.runner.provisioner import ForkServer, preloaded
from tailrace.runner.steps import Work
from tailrace.testbed import stack


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    root: Path
    profile: str = "local"
    overrides: tuple[Override, ...] = ()
    only: tuple[str, ...] = ()
    baseline: Path | None = None
    """Folder of the run that this one is held against at its end."""
    tolerance: float = 0.2
    """By how much p99 may be beyond the baseline's; 0.2: 20 %."""


@dataclass(frozen=True)
class Prepared:
    """What the request came to, when nothing was wrong with it."""

    plan: Plan
    profile: Profile
    parameters: Mapping[str, Mapping[str, Any]]
    baseline: RunDir | None = None


def prepare(request: Request) -> Prepared:
    """Check all that can be checked before anything starts; raises ProfileError, PartMissing or RecordsError."""
    whole = plan.load(request.root)
    chosen = profile.load(request.profile, request.root)
    source = request.profile if request.profile.endswith((".yaml", ".yml")) else f"profile {request.profile}"
    values = parameters.check(whole, request.root, chosen, source, request.overrides)
    stack.preflight(chosen, request.root)
    base = RunDir.of(request.baseline) if request.baseline else None  # now: `latest` is about to be another
    return Prepared(whole.only(request.only) if request.only else whole, chosen, values, base)


def run(request: Request, display: Display) -> RunRecord:
    """Run the runbook and return the finished `run.json`; its folder holds everything else.

    Raises ProfileError, PartMissing or Locked before anything has started; after that, whatever happens is in
    the record. SIGINT, SIGTERM and SIGHUP end the run in order: the record says so, with exit code 128 + signal.
    """
    with interrupt.watched() as interrupted:
        prepared = prepare(request)
        with _alone(request.root, f"a run of profile {prepared.profile.name}"):
            for line in cleanup.sweep(request.root, prepared.profile):
                display.say(line, "yellow")
            new = create_run(request.root, prepared.profile)
            point_latest(new)
            events.append(new.path, "run_started", profile=request.profile, steps=[s.name for s in prepared.plan.steps])
            server = fork_server(request.root, new, prepared.plan)
            work = Work(
                request.root, new, prepared.plan, prepared.profile, request.profile, prepared.parameters, server
            )
            display.say(f"run {new.id}  profile {prepared.profile.name}  engine {prepared.profile.engine}")
            display.etas = history.durations(request.root, prepared.profile.name)
            done: tuple[StepOutcome, ...] = ()
            with display:
                try:
                    done = steps.execute(work, display, interrupted)
                finally:
                    if server:
                        server.close()
                    gate = Gate(prepared.baseline, request.tolerance) if prepared.baseline else None
                    record = Ending(work, display, interrupted, done, gate).bring()
            display.verdict(record, _held(new, record))
            return record


def fork_server(root: Path, run: RunDir, plan: Plan) -> ForkServer | None:
    """Start what kernels are forked from. Only on Linux: macOS has libraries that do not survive a fork."""
    if sys.platform != "linux":
        return None
    environment = kernel.environment(kernel.state(root), os.environ)
    modules = preloaded(root / step.notebook for step in plan.steps)
    server = ForkServer(run.kernel_log("fork_server"), environment, modules)
    events.append(run.path, "fork_server_started", pid=server.pid, started=processes.started(server.pid) or "")
    return server


def down(root: Path, profile_name: str) -> list[str]:
    """Stop what runs of the profile have left, also what was to stay, and return a sentence for each thing found.

    Raises Locked while a run is under way. Secrets are not asked for.
    """
    chosen = profile.load(profile_name, root, environment=None)
    with _alone(root, f"tailrace down for profile {chosen.name}"):
        found = list(cleanup.after_killed(root, chosen))
        if stopped := stack.down(chosen, root):
            found.append(f"stopped: {', '.join(stopped)}")
        return found


def _alone(root: Path, doing: str) -> AbstractContextManager[None]:
    """Hold the run lock of the project."""
    return lock.hold(root / ".tailrace" / "run.lock", doing, "wait for it, or end it by that pid")


def _held(new: RunDir, record: RunRecord) -> dict[str, str]:
    """Return "7 of 8" for each step that made checks; skipped ones do not count."""
    counts = {}
    for step in record.steps:
        try:
            checks = json.loads(new.result(step.name).read_bytes())["checks"]
        except (OSError, ValueError, KeyError):
            continue
        decided = [check for check in checks if check.get("state") != "SKIPPED"]
        counts[step.name] = f"{sum(check['ok'] is True for check in decided)} of {len(decided)}"
    return counts
