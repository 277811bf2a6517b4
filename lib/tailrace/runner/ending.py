"""How a run ends, whatever happened in it: taken down, scanned for credentials, summed up, reported."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tailrace.errors import DeployError, LeakFound
from tailrace.run import events, leaks
from tailrace.run.folder import RunDir
from tailrace.run.record import RunCheck, RunRecord, StepOutcome
from tailrace.runner import cleanup, outcome
from tailrace.runner.display import Display
from tailrace.runner.interrupt import Interrupt
from tailrace.runner.steps import INTERRUPTED, Work
from tailrace.verdict import EXIT_CODES, of_ok

NO_LEAK = "no credential in any artefact"


@dataclass(frozen=True)
class Gate:
    """The run that this one must not be slower than, and by how much it may be (0.2: 20 %)."""

    baseline: RunDir
    tolerance: float


@dataclass
class Ending:
    """The last part of a run; each of its checks is on disk before the next thing is tried."""

    work: Work
    display: Display
    interrupt: Interrupt
    steps: tuple[StepOutcome, ...]
    gate: Gate | None = None
    checks: dict[str, RunCheck] = field(default_factory=dict)

    def bring(self) -> RunRecord:
        """Take down, compare, scan, report; return the finished record."""
        self.display.doing("ending the run")
        if self.work.profile.teardown == "always":
            self._check("nothing is left running", self._torn_down)
        if self.gate and not self._cut:
            self._check(f"no slower than {self.gate.baseline.id}", partial(self._compared, self.gate))
        self._check(NO_LEAK, self._clean)
        self._write()
        self._check("the report is written", self._reported)
        record = self._write()
        events.append(self.work.run.path, "run_finished", verdict=record.verdict, exit_code=record.exit_code)
        self._listed()
        return record

    @property
    def _cut(self) -> bool:
        """Whether the signal cut the run short: one that comes after the last step changes nothing."""
        return bool(self.interrupt) and (not self.steps or any(s.reason.startswith(INTERRUPTED) for s in self.steps))

    def _check(self, name: str, act: Callable[[], str | tuple[bool | None, str]]) -> None:
        """Note what `act` says; an exception of any kind is a check that failed, never the end of the ending."""
        try:
            said = act()
            ok, fact = (True, said) if isinstance(said, str) else said
            decided = RunCheck(name=name, ok=ok, fact=fact)
        except Exception as error:
            decided = RunCheck(name=name, ok=False, fact=f"{type(error).__name__}: {error}")
        self.checks[name] = decided
        events.append(self.work.run.path, "check", step="", **decided.model_dump())
        if not decided.ok:
            self.display.check(decided.name, of_ok(decided.ok), decided.fact)

    def _torn_down(self) -> str:
        stopped = list(cleanup.torn_down(self.work.profile, self.work.root))
        for line in stopped:
            self.display.say(line, "dim")
        if left := list(cleanup.torn_down(self.work.profile, self.work.root)):
            raise DeployError(f"a second look still {'; '.join(left)}; look into .tailrace/{self.work.profile.name}")
        return "; ".join(stopped) or "nothing was running"

    def _compared(self, gate: Gate) -> tuple[bool | None, str]:
        from tailrace.report import baseline

        judged = baseline.against(self.work.run.path, gate.baseline.path, gate.tolerance).judgement
        return judged.ok, judged.text

    def _clean(self) -> str:
        folder = self.work.run.path
        leaks.require_none(folder, leaks.secrets(self.work.profile, os.environ))
        files = sum(1 for file in folder.rglob("*") if file.is_file())
        return f"{files} files scanned"

    def _reported(self) -> str:
        from tailrace.report import page  # brings matplotlib: not before it is needed

        path = page.write(self.work.run.path)
        try:
            leaks.require_none(self.work.run.path, leaks.secrets(self.work.profile, os.environ), [path])
        except LeakFound as leak:
            self.checks[NO_LEAK] = RunCheck(name=NO_LEAK, ok=False, fact=f"LeakFound: {leak}")
            raise
        return f"{path.name}, {path.stat().st_size / 1024:,.0f} KB"

    def _listed(self) -> None:
        """List all runs in `runs/index.html`. What is wrong with another run is not this one's fault: it is said."""
        from tailrace.report import index

        try:
            index.write(self.work.run.path.parent, self.gate.baseline.id if self.gate else "")
        except Exception as error:
            self.display.say(f"runs/index.html was not written: {type(error).__name__}: {error}", "yellow")

    def _write(self) -> RunRecord:
        checks = tuple(self.checks.values())
        verdict = outcome.overall(self.steps, checks)
        if self._cut and self.interrupt.signal:
            code, reason = self.interrupt.exit_code, f"interrupted by {self.interrupt.signal.name}"
        else:
            code, reason = EXIT_CODES[verdict], "; ".join(check.fact for check in checks if not check.ok)
        record = self.work.run.read().finished(verdict, code, reason=reason, steps=self.steps, checks=checks)
        self.work.run.write(record)
        return record
