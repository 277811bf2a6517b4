"""The end of a run, whatever happened in it: tear down, compare, scan for credentials, sum up and report."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tailrace import system_errors
from tailrace.errors import DeployError, LeakFound
from tailrace.run import events, leaks
from tailrace.run.folder import RunDir
from tailrace.run.record import RunCheck, RunRecord, StepOutcome
from tailrace.runner import cleanup, forking, outcome
from tailrace.runner.display import Display
from tailrace.runner.interrupt import PATIENCE_S, Interrupt
from tailrace.runner.steps import INTERRUPTED, RunContext
from tailrace.verdict import of_ok

NO_LEAK = "no credential in any artefact"


@dataclass(frozen=True)
class BaselineGate:
    """The run that this one must not be slower than, and by how much it may be (0.2: 20 %)."""

    baseline: RunDir
    tolerance: float


@dataclass
class Finalizer:
    """Ends a run. Each of its checks is on disk before the next one is tried."""

    context: RunContext
    display: Display
    interrupt: Interrupt
    steps: tuple[StepOutcome, ...]
    gate: BaselineGate | None = None
    checks: dict[str, RunCheck] = field(default_factory=dict)
    _was_cut: bool = False
    _was_refused: bool = False
    """The machine did not let one of the checks be made."""

    def finalize(self) -> RunRecord:
        """Tear down, compare, scan, report; return the finished record."""
        self.display.activity("ending the run")
        self.run.reserve.unlink(missing_ok=True)
        if self.context.profile.teardown == "always":
            self._check("nothing is left running", self._tear_down)
        if self.gate and not self._was_cut_short:
            self._check(f"no slower than {self.gate.baseline.id}", partial(self._compare, self.gate))
        self._check(NO_LEAK, self._scan)
        self._write()
        self._check("the report is written", self._write_report)
        record = self._write()
        events.append(self.run.path, "run_finished", verdict=record.verdict, exit_code=record.exit_code)
        self._write_index()
        return record

    @property
    def run(self) -> RunDir:
        return self.context.run

    @property
    def _was_cut_short(self) -> bool:
        """Whether a signal ended the steps, or cut what comes after them; what is done in time stands."""
        steps = not self.steps or any(step.reason.startswith(INTERRUPTED) for step in self.steps)
        return bool(self.interrupt) and (steps or self._was_cut)

    def _check(self, name: str, act: Callable[[], str | tuple[bool | None, str]]) -> None:
        """Record the check that `act` decides; whatever it raises fails the check, and the finalizer goes on.

        A signal, and a machine that refuses, leave it undecided.
        """
        try:
            answer = act()
            ok, fact = (True, answer) if isinstance(answer, str) else answer
        except forking.Cut:
            self._was_cut = True
            ok, fact = None, f"not done {PATIENCE_S:g} s after the signal, so it was ended"
        except Exception as error:
            self._was_refused = self._was_refused or (refused := system_errors.of_machine(error))
            ok, fact = (None if refused else False), f"{type(error).__name__}: {error}"
        self.checks[name] = check = RunCheck(name=name, ok=ok, fact=self.context.mask(fact))
        events.append(self.run.path, "check", step="", **check.model_dump())
        if not check.ok:
            self.display.check(check.name, of_ok(check.ok), check.fact)

    def _tear_down(self) -> str:
        profile, root = self.context.profile, self.context.root
        stopped = list(cleanup.tear_down(profile, root))
        for line in stopped:
            self.display.print_line(line, "dim")
        if remaining := list(cleanup.tear_down(profile, root)):
            raise DeployError(f"a second look still {'; '.join(remaining)}; look into .tailrace/{profile.name}")
        return "; ".join(stopped) or "nothing was running"

    def _compare(self, gate: BaselineGate) -> tuple[bool | None, str]:
        paths = self.run.path, gate.baseline.path
        judgement = self._apart("tailrace.report.baseline", "against", *paths, gate.tolerance).judgement
        return judgement.ok, judgement.text

    def _scan(self) -> tuple[bool | None, str]:
        """Scan the run, and what its deployment keeps; what could not be read whole leaves the check undecided."""
        scan = self._require_no_leak()
        state = self.context.root / ".tailrace" / self.context.profile.name
        kept = self._apart("tailrace.run.leaks", "require_none_in_state", state, self._secrets)
        fact = f"{scan.read} files of the run scanned, {kept.read} of its deployment"
        limits = "; ".join(filter(None, (scan.limits, kept.limits)))
        return (None, f"{fact}; {limits}") if limits else (True, fact)

    def _write_report(self) -> str:
        self._apart("tailrace.report.page", "write", self.run.path)
        path = self.run.report
        try:
            self._require_no_leak([path])
        except LeakFound as leak:
            self.checks[NO_LEAK] = RunCheck(name=NO_LEAK, ok=False, fact=f"LeakFound: {leak}")
            raise
        return f"{path.name}, {path.stat().st_size / 1024:,.0f} KB"

    def _write_index(self) -> None:
        """List all runs in `runs/index.html`. A damaged run in that list does not fail this one."""
        baseline = self.gate.baseline.id if self.gate else ""
        try:
            self._apart("tailrace.report.index", "write", self.run.path.parent, baseline)
        except forking.Cut:
            self.display.print_line("runs/index.html was not written: the run was ended before", "yellow")
        except Exception as error:
            self.display.print_line(f"runs/index.html was not written: {type(error).__name__}: {error}", "yellow")

    def _require_no_leak(self, *files: object) -> leaks.Scan:
        found: leaks.Scan = self._apart("tailrace.run.leaks", "require_none", self.run.path, self._secrets, *files)
        return found

    @property
    def _secrets(self) -> dict[str, str]:
        return leaks.secrets(self.context.profile, os.environ)

    def _apart(self, module: str, function: str, *arguments: object) -> Any:
        """Call a function in a process that has imported what it needs already."""
        return forking.call(self.context.server, module, function, *arguments, cut=self.interrupt.overdue)

    def _write(self) -> RunRecord:
        checks = tuple(self.checks.values())
        verdict = outcome.overall(self.steps, checks)
        if self._was_cut_short and self.interrupt.signal:
            code, reason = self.interrupt.exit_code, f"interrupted by {self.interrupt.signal.name}"
        else:
            missing = [f"{step.name} {step.reason}" for step in self.steps if step.could_not_run]
            code = outcome.exit_code(verdict, self.steps, self._was_refused)
            reason = "; ".join([*missing, *(check.fact for check in checks if not check.ok)])
        record = self.run.read().finished(verdict, code, reason=reason, steps=self.steps, checks=checks)
        self.run.write(record)
        return record
