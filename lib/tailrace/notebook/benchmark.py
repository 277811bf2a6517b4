"""A benchmark as a step runs it: its targets brought up when their first cell is due, its rows kept after each cell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from tailrace import bench, load
from tailrace.bench.plan import BenchPlan
from tailrace.errors import ProfileError, RecordsError
from tailrace.load.counting import Target
from tailrace.notebook import output
from tailrace.run import folder
from tailrace.run.folder import RunDir
from tailrace.testbed import users

if TYPE_CHECKING:
    from tailrace.notebook.step import Step

CELLS = "cells"
"""The name of the frame with the rows."""
GRID = "grid"
"""The name of the frame with the plan that they were measured by."""


def measure(step: Step, plan: BenchPlan, resume: str) -> pd.DataFrame:
    """Measure the cells of `plan`, but for those that the run `resume` has; raise RecordsError when it cannot."""
    done = _kept(step, plan, resume) if resume else None
    step.save(GRID, _document(plan))
    show = output.ReplacedText()

    def report(rows: pd.DataFrame, cells: int) -> None:
        step.save(CELLS, rows)
        last = rows.iloc[-1]
        show(f"{len(rows)} of {cells}: {last['target']}, load {last['level']:g}, n = {last['n']:,}")

    rows = bench.measure_grid(plan, _Targets(step, plan).prepare, report, step.profile.model, done)
    return step.save(CELLS, rows)


@dataclass
class _Targets:
    """The targets of a plan; each is brought up, and asked how it counts tokens, when its first cell is due."""

    step: Step
    plan: BenchPlan
    learned: dict[str, dict[str, Target]] = field(default_factory=dict)
    findings: dict[str, list[str]] = field(default_factory=dict)

    def prepare(self, name: str, traffic: load.Traffic) -> load.LoadRun:
        url, options = self._address(name)
        if name not in self.learned:
            rehearsal = load.rehearsal.rehearse(traffic, url, options)
            self.learned[name] = dict(rehearsal.traffic.workload.targets)
            self.findings[name] = list(rehearsal.findings)
            self.step.record_facts(rehearsal=self.findings)
        workload = replace(traffic.workload, targets=self.learned[name])
        return self.step.prepare_load(replace(traffic, workload=workload), url, options=options)

    def _address(self, name: str) -> tuple[str, dict[str, Any]]:
        target, stack = self.plan.targets[name], self.step.stack
        if target.url:
            return target.url, {"headers": target.headers}
        if target.simulator:
            return stack.spare_provider(f"bench-{name}", target.simulator).url, {}
        if reason := users.no_chat(self.step.profile):
            raise ProfileError(f"target {name} is the deployment of {self.step.profile.name}, but {reason}")
        stack.up(self.step.release)
        return f"{stack.url}/v1", stack.sender_options


def _kept(step: Step, plan: BenchPlan, resume: str) -> pd.DataFrame:
    """Return the rows of the run `resume`, whose records are linked into this one."""
    source = RunDir.of(step.run.path.parent / resume)
    try:
        grid, cells = (pd.read_parquet(source.data(step.name, name)) for name in (GRID, CELLS))
    except OSError:
        raise RecordsError(f"{resume} has no measured cell of {step.name}; run it without `resume`") from None
    if not grid.equals(_document(plan)):
        raise RecordsError(f"{resume} was measured by another plan than {plan.name}; run it without `resume`")
    folder.link_records(step.run, source, step.name, cells["load_run"].tolist())
    return cells


def _document(plan: BenchPlan) -> pd.DataFrame:
    return pd.DataFrame({"plan": [plan.model_dump_json()]})
