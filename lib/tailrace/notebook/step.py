"""A step, as a notebook uses it: begin it, run loads and deployments, add checks, draw, and finish.

    step = begin("03_blue_green_switch", profile=profile, run_dir=run_dir)
    step.check("no request failed", failed == 0, f"{failed} of {n:,} failed")
    step.figure("switch", "Every request, by the colour that served it.")
    step.finish()

Within a run, the runner passes `run_dir`. Without it, in JupyterLab, the step begins an exploratory run of its own,
and at its end takes down what it brought up, where the profile says so.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from tailrace import analysis, bench, load, masking
from tailrace import profile as profiles
from tailrace.checks import artefacts, checklist
from tailrace.deploy import Release
from tailrace.deploy.engines import choice
from tailrace.deploy.outcome import DeployOutcome
from tailrace.errors import StepFailed
from tailrace.host import files
from tailrace.host.machine import MACHINE
from tailrace.load import beside
from tailrace.masking import Mask
from tailrace.notebook import benchmark, output, reasons
from tailrace.notebook.evidence import Evidence
from tailrace.notebook.result import Result, checks_of
from tailrace.objectives import GOODPUT, PER_REQUEST, Objectives
from tailrace.report import tables
from tailrace.run import events, folder, leaks
from tailrace.run.folder import RunDir
from tailrace.testbed import candidates, observers, stack
from tailrace.testbed.candidates import Candidate
from tailrace.verdict import FAIL, Check, Verdict

SHOWN = ("locked", "ready", "switched", "drained", "done", "rolling back", "rolled back")
"""States of a switch that a figure can show; the others come milliseconds after these."""


@dataclass
class Step(Evidence):
    """One step under way: its evidence and its result are on disk when a call returns."""

    profile: profiles.Profile
    root: Path
    alone: bool
    """An exploratory run of this one notebook, outside the runner."""

    @cached_property
    def result(self) -> Result:
        """The checks, facts, figures and tables so far."""
        return Result(self.name, self.run, Mask.of(masking.known(os.environ, self.profile.secret_names)))

    @cached_property
    def stack(self) -> stack.Stack:
        """The provider and the deployment of the profile; the provider is brought up at the first use."""
        return stack.Stack.open(self.profile, self.root)

    @cached_property
    def release(self) -> Release:
        """The release of the working tree, built (which shows its progress) or reused."""
        from tailrace.notebook.progress import Progress

        progress = Progress()
        try:
            return self.stack.build(progress)
        finally:
            progress.close()

    def check(self, name: str, ok: bool | None, fact: str) -> None:
        """Decide the check `name`, once; `fact` is what was measured, and against which limit."""
        self.result.add_check(Check(name, None if ok is None else bool(ok), fact))

    def add_checks(self, *checks: Check | Iterable[Check], about: str = "", since_ns: int = 0) -> None:
        """Add checks that are decided already.

        `about` names the phase of the load that they are about: where one of them fails, the requests of that phase
        that failed, of those due from `since_ns` on, are explained beside it, with a figure.
        """
        decided = [check for one in checks for check in ((one,) if isinstance(one, Check) else one)]
        explain = about and any(check.state == FAIL for check in decided)
        why = reasons.failures(self, f"records:{about}", since_ns) if explain else ""
        for check in decided:
            self.result.add_check(replace(check, why=why) if check.state == FAIL else check)

    def add_judgements(self, judgements: Iterable[analysis.Judgement], about: str = "") -> None:
        """Add judgements of the analysis, with their reasons, as checks.

        `about` names the frame of the records that were judged: where one fails, the requests that failed, or were
        beyond the limits, are explained beside it.
        """
        for judgement in judgements:
            why = self._why(judgement, about) if about and judgement.ok is False else ""
            self.result.add_check(Check(judgement.name, judgement.ok, judgement.text, why=why))

    def record_facts(self, **facts: Any) -> None:
        """Put plain facts (JSON) into the result of the step, under their names."""
        self.result.add_facts(facts)

    def run_load(
        self, traffic: load.Traffic, url: str = "", sender: str = "http", options: Mapping[str, Any] | None = None
    ) -> load.LoadRun:
        """Start `traffic` on `url` (the edge, when empty); the records are this step's."""
        load_run = self.prepare_load(traffic, url, sender, options)
        load_run.begin()
        return load_run

    def prepare_load(
        self, traffic: load.Traffic, url: str = "", sender: str = "http", options: Mapping[str, Any] | None = None
    ) -> load.LoadRun:
        """Start the load generator of `traffic`, as `run_load` does, but send nothing before the load run begins."""
        out = self.run.records(self.name)
        options = dict(options or {}) if url else {**self.stack.sender_options, **(options or {})}
        load_run = load.prepare(self._labelled(traffic), url or self._url(traffic), out, sender, options)
        if not url or (self.stack.deployment.is_up and f"{url}/".startswith(f"{self.stack.url}/")):
            load_run.beside = observers.beside(self.stack)
        return load_run

    def find_capacity(
        self, search: load.rate_search.Search, objectives: Objectives, duration_s: float, **workload: Any
    ) -> load.rate_search.Capacity:
        """Search for the highest rate at which the service behind the edge meets `objectives`.

        Each rate is held for `duration_s`, with prompts of its own, and its records are the phase "rate N".
        """
        seed = int(workload.pop("seed", 0))

        def traffic(rate_rps: float) -> load.Traffic:
            own = seed + round(rate_rps)  # a prompt of another rate would be answered by the cache
            users = load.arrivals.poisson(rate_rps, duration_s, own)
            return self._labelled(self.stack.traffic(users, "rate", seed=own, **workload))

        url = self._url(traffic(search.from_rps))
        probe = load.rate_search.probe(traffic, url, self.run.records(self.name), objectives, self.stack.sender_options)
        samples = [one for one in observers.beside(self.stack) if one.name != MACHINE]  # each load has that itself
        with beside.during(samples, self.run.records(self.name), secrets.token_hex(4)):
            return load.rate_search.find(probe, search)

    def measure_grid(self, plan: bench.BenchPlan, resume: str = "") -> pd.DataFrame:
        """Measure every cell of `plan` on its targets, and return a row for each; they are kept as the frame "cells".

        With `resume`, the id of an earlier run, the cells that it has measured are taken from there.
        """
        return benchmark.measure(self, plan, resume)

    def deploy_candidate(self, candidate: Candidate, **rollout: Any) -> DeployOutcome:
        """Switch the deployment to a release, and mark the states that it went through.

        `rollout` replaces fields of the profile's `rollout`. A candidate that is refused or rolled back is an outcome,
        not an error.
        """
        outcome = candidates.deploy(self.stack, candidate, **rollout)
        self.reached(outcome.states)
        for state, t_ns, _ in outcome.states:
            if state in SHOWN:
                self.mark(state, "state", t_ns)
            if state == "smoked" and rollout.get("weights"):
                self.mark(f"{rollout['weights'][0]} % on new", "state", t_ns)
        return outcome

    def records_to_report(self, name: str) -> str:
        """Return the name of the records to report on: `name` ("<step>/records:PHASE"), where this run has them.

        A step that runs alone links the evidence of the latest run into its own. Where there is none either, it
        measures: a quarter of a minute of users, on the service behind the edge.
        """
        if not self.alone:
            return name
        folder.link_evidence(self.run, folder.latest(self.root))
        if self.run.records(name.partition("/")[0]).is_dir():
            return name
        self.stack.up(self.release)
        users = load.arrivals.poisson(100.0, 15.0)
        self.run_load(self.stack.traffic(users, "steady", **self.stack.mix(stream_share=0.2))).wait()
        return f"{self.name}/records:steady"

    def scan_for_credentials(self) -> Check:
        """Read every file of the run so far for credentials; the runner does so again at the very end."""
        files = sum(1 for path in self.run.path.rglob("*") if path.is_file())
        return artefacts.no_credential(leaks.scan(self.run.path, leaks.secrets(self.profile, os.environ)), files)

    def decide_checklist(self) -> Check:
        """Decide the production-readiness checklist by the checks of this run, and show it."""
        lines = checklist.read(self.root / "runbook" / "checklist.yaml")
        checks = {**checks_of(self.run), self.name: self.result.checks}
        decided = checklist.decide(lines, checks, choice.lacks(self.profile))
        documents = [check.document() for check in decided]
        self.record_facts(checklist=documents)
        output.show_html(tables.checks(documents))
        return checklist.ready(decided)

    def figure(self, name: str, caption: str = "", **options: Any) -> None:
        """Draw a figure of the catalogue from frames of this run, show it, and have the report draw it as well."""
        from tailrace.report import catalogue  # only here: matplotlib takes a while to import

        drawn = catalogue.draw(name, self.frame, **options)
        self.result.add_figure(name, caption, options)
        output.show_figure(drawn.png(), drawn.alt, caption)

    def table(self, name: str, caption: str = "", **options: Any) -> None:
        """Show a table of the catalogue, and have the report show it as well."""
        html = tables.draw(name, self.frame, caption=caption, **options)
        self.result.add_table(name, caption, options)
        output.show_html(html)

    def finish(self) -> None:
        """Show the checks, write the verdict, and raise StepFailed when a check failed."""
        verdict, checks = self.verdict, self.result.checks
        self.result.write(verdict)
        events.append(self.run.path, "step_finished", step=self.name, verdict=verdict)
        output.show_html(tables.checks([check.document() for check in checks]))
        if self.alone:
            self._close()
        if failed := [f"{check.name}: {check.fact}" for check in checks if check.state == FAIL]:
            raise StepFailed(f"{self.name}: {len(failed)} of {len(checks)} checks failed: " + "; ".join(failed))

    @property
    def verdict(self) -> Verdict:
        """The verdict of the checks so far."""
        return self.result.verdict

    def _why(self, judgement: analysis.Judgement, records: str) -> str:
        """Return why the limit was not kept; gaps between tokens are of no single request: nothing is said of them."""
        objectives = self.profile.slo.objectives
        beyond = objectives.good_ms if judgement.measure == GOODPUT else objectives.widest_ms
        kept = {m: v for m, v in beyond.items() if m in PER_REQUEST and judgement.measure in (m, GOODPUT)}
        if judgement.measure:
            return reasons.slowness(self, records, kept)
        return reasons.failures(self, records)

    def _labelled(self, traffic: load.Traffic) -> load.Traffic:
        return replace(traffic, step=self.name, run_id=self.run.id)

    def _url(self, traffic: load.Traffic) -> str:
        return self.stack.url + ("" if traffic.workload.kind == "plain" else "/v1")

    def _close(self) -> None:
        """End an exploratory run: write its run.json, and take down what it brought up."""
        if self.profile.teardown == "always":
            stack.down(self.profile, self.root)
        folder.close(self.run, self.verdict, (self.name,))


def begin(name: str, *, profile: str = "local", run_dir: str = "") -> Step:
    """Begin the step `name` in the run at `run_dir`, or in a new exploratory run when that is empty.

    Raises ProfileError when the profile is refused, or when there is no project around the notebook.
    """
    os.umask(files.UMASK)
    root = folder.find_project(Path.cwd())
    settings = profiles.load(profile, root)
    run = RunDir.of(Path(run_dir)) if run_dir else folder.create_run(root, settings, kind="exploratory")
    step = Step(name, run, settings, root, alone=not run_dir)
    events.append(run.path, "step_begun", step=name)
    step.result.write()
    return step
