"""What a notebook talks to: it begins a step, checks, saves, draws, and finishes.

    step = begin("03_blue_green_switch", profile=profile, run_dir=run_dir)
    step.check("no request failed", failed == 0, f"{failed} of {n:,} failed")
    step.figure("switch", "Every request, by the colour that served it.")
    step.finish()

Within a run, the runner gives `run_dir`. Without it, in JupyterLab, the step begins an exploratory run of its
own, and takes down at the end what it brought up, where the profile says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
from IPython.display import HTML, Image, Markdown, display

from tailrace import analysis, load
from tailrace import profile as profiles
from tailrace.checks import checklist
from tailrace.deploy import Release
from tailrace.deploy.engines import choice
from tailrace.errors import StepFailed
from tailrace.host import files
from tailrace.notebook import progress
from tailrace.report import catalogue, evidence, tables
from tailrace.run import events, folder
from tailrace.run.folder import RunDir
from tailrace.testbed import candidates, stack
from tailrace.testbed.candidates import Candidate, DeployOutcome
from tailrace.verdict import FAIL, Check, Verdict, fold

WIDTH_PX = 860
"""Of a figure in a notebook."""
SHOWN = ("locked", "ready", "switched", "drained", "done", "rolling back", "rolled back")
"""States of a switch that a figure can show; the others come milliseconds after these."""


@dataclass
class Step:
    """One step under way. Everything that it is told is on disk when the call returns."""

    name: str
    profile: profiles.Profile
    root: Path
    run: RunDir
    alone: bool
    """An exploratory run of this one notebook, outside the runner."""
    checks: list[Check] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    """In their order, as specifications that can be drawn again from the records."""
    tables: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    marks: list[tuple[int, int, str, str]] = field(default_factory=list)

    @cached_property
    def stack(self) -> stack.Stack:
        """The provider and the deployment of the profile; the provider is brought up at the first use."""
        return stack.Stack.open(self.profile, self.root)

    @cached_property
    def release(self) -> Release:
        """The release of the working tree, built (which shows its progress) or reused."""
        shown = progress.Progress()
        try:
            return self.stack.build(shown)
        finally:
            shown.close()

    def check(self, name: str, ok: bool | None, fact: str) -> None:
        """Decide the check `name`, once; `fact` is what was measured, and against which limit."""
        self.add_checks(Check(name, None if ok is None else bool(ok), fact))

    def add_checks(self, *checks: Check | Iterable[Check]) -> None:
        """Take over checks that a proof has decided."""
        for given in checks:
            for check in (given,) if isinstance(given, Check) else given:
                self._decide(check)

    def add_judgements(self, judgements: Iterable[analysis.Judgement]) -> None:
        """Take over verdicts of the analysis, with their reasons, as checks."""
        self.add_checks(Check(judgement.name, judgement.ok, judgement.text) for judgement in judgements)

    def record_facts(self, **facts: Any) -> None:
        """Put plain facts (JSON) into the result of the step, under their names."""
        self.facts.update(facts)
        self._write()

    def mark(self, label: str, kind: str = "action", t_ns: int | None = None, until_ns: int | None = None) -> None:
        """Note a moment (now), or a stretch of time, for the figures: kind "state", "fault" or "action"."""
        begin_ns = time.perf_counter_ns() if t_ns is None else t_ns
        self.marks.append((begin_ns, until_ns or begin_ns, label, kind))
        self.save("marks", pd.DataFrame(self.marks, columns=evidence.MARKS).sort_values("t_ns"))

    @contextmanager
    def during(self, label: str, kind: str = "fault") -> Iterator[None]:
        """Note the time of the block as a stretch with this label."""
        begin_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            self.mark(label, kind, begin_ns, time.perf_counter_ns())

    def run_load(
        self, traffic: load.Traffic, url: str = "", sender: str = "http", options: Mapping[str, Any] | None = None
    ) -> load.Flight:
        """Start `traffic` on `url` (the edge, when empty); the records are this step's."""
        out = self.run.records(self.name)
        return load.start(self._labelled(traffic), url or self._url(traffic), out, sender, options)

    def find_capacity(
        self, search: load.rate_search.Search, percentiles_ms: Mapping[str, float], duration_s: float, **workload: Any
    ) -> load.rate_search.Limit:
        """Search for the highest rate at which the service behind the edge is within these percentiles.

        Each rate is flown for `duration_s`, with questions of its own, and its records are the phase "rate N".
        """
        seed = int(workload.pop("seed", 0))

        def traffic(rate_rps: float) -> load.Traffic:
            own = seed + round(rate_rps)  # what was asked at another rate would come from the cache
            users = load.arrivals.poisson(rate_rps, duration_s, own)
            return self._labelled(self.stack.traffic(users, "rate", seed=own, **workload))

        objectives = load.rate_search.Objectives(percentiles_ms, self.profile.slo.error_rate)
        url = self._url(traffic(search.from_rps))
        probe = load.rate_search.probe(traffic, url, self.run.records(self.name), objectives)
        return load.rate_search.find(probe, search)

    def deploy_candidate(self, candidate: Candidate, **waits: Any) -> DeployOutcome:
        """Offer a release to the deployment, and mark the states that it went through."""
        outcome = candidates.deploy(self.stack, candidate, **waits)
        for state, t_ns, _ in outcome.states:
            if state in SHOWN:
                self.mark(state, "state", t_ns)
            if state == "smoked" and waits.get("weights"):
                self.mark(f"{waits['weights'][0]} % on new", "state", t_ns)
        return outcome

    def save(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Keep a frame as evidence, `data/<step>/<name>.parquet`, and return it."""
        path = self.run.data(self.name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False)
        return frame

    def frame(self, name: str = "records") -> pd.DataFrame:
        """Return a frame of this run: "records", a saved name, or "<step>/<name>" of another step."""
        return evidence.frame(self.run.path, self.name, name)

    def records(self, phase: str = "") -> pd.DataFrame:
        """Return this step's records, of one phase or of all."""
        records = self.frame("records")
        return records[records["phase"] == phase] if phase else records

    def invalid_reasons(self, name: str = "records") -> list[str]:
        """Return why these records must not decide anything, in the words of the flights that made them."""
        return evidence.invalid_reasons(self.run.path, self.name, name)

    def records_to_report(self, name: str) -> str:
        """Return the name of the records to report on: `name` ("<step>/records:PHASE"), where this run has them.

        A step that runs alone takes over the evidence of the latest run. Where there is none either, it measures: a
        quarter of a minute of users, on the service behind the edge.
        """
        if not self.alone:
            return name
        folder.link_evidence(self.run, folder.latest(self.root))
        if self.run.records(name.partition("/")[0]).is_dir():
            return name
        self.stack.up(self.release)
        self.run_load(self.stack.traffic(load.arrivals.poisson(100.0, 15.0), "steady", stream_share=0.2)).wait()
        return f"{self.name}/records:steady"

    def checklist(self) -> Check:
        """Decide the production-readiness checklist by the checks of this run, and show it."""
        lines = checklist.read(self.root / "runbook" / "checklist.yaml")
        made = {**checklist.results(self.run.path), self.name: self.checks}
        decided = checklist.decide(lines, made, choice.lacks(self.profile))
        self.record_facts(checklist=[check.document() for check in decided])
        _display(tables.checks([check.document() for check in decided]))
        return checklist.ready(decided)

    def figure(self, name: str, caption: str = "", **options: Any) -> None:
        """Draw a figure of the catalogue from frames of this run, show it, and have the report draw it as well."""
        drawn = catalogue.draw(name, self.frame, **options)
        self._show(self.figures, name, caption, options)
        # Lab takes drawings out of a notebook that another machine ran; an image stays.
        display(Image(drawn.png(), width=WIDTH_PX, alt=drawn.alt))  # type: ignore[no-untyped-call]
        display(Markdown(f"*{caption}*"))  # type: ignore[no-untyped-call]

    def table(self, name: str, caption: str = "", **options: Any) -> None:
        """Show a table of the catalogue, and have the report show it as well."""
        html = tables.draw(name, self.frame, caption=caption, **options)
        self._show(self.tables, name, caption, options)
        _display(html)

    def finish(self) -> None:
        """Show the checks, write the verdict, and raise StepFailed when a check said no."""
        self._write(self.verdict)
        events.append(self.run.path, "step_finished", step=self.name, verdict=self.verdict)
        _display(tables.checks([check.document() for check in self.checks]))
        if self.alone:
            self._close()
        if failed := [f"{check.name}: {check.fact}" for check in self.checks if check.state == FAIL]:
            raise StepFailed(f"{self.name}: {len(failed)} of {len(self.checks)} checks failed: " + "; ".join(failed))

    @property
    def verdict(self) -> Verdict:
        """FAIL when a check failed, else INCONCLUSIVE when one is or when none was made, else PASS."""
        return fold(check.state for check in self.checks)

    def _decide(self, check: Check) -> None:
        if any(known.name == check.name for known in self.checks):
            raise ValueError(f"{self.name}: check {check.name!r} was decided before; give this one another name")
        self.checks.append(check)
        self._write()
        events.append(self.run.path, "check", step=self.name, **check.document())

    def _show(self, shown: list[dict[str, Any]], name: str, caption: str, options: dict[str, Any]) -> None:
        shown.append({"name": name, "caption": caption, "options": options})
        self._write()

    def _labelled(self, traffic: load.Traffic) -> load.Traffic:
        return replace(traffic, step=self.name, run_id=self.run.id)

    def _url(self, traffic: load.Traffic) -> str:
        return self.stack.url + ("" if traffic.workload.kind == "plain" else "/v1")

    def _write(self, verdict: Verdict | None = None) -> None:
        """Replace the result on disk; while the step is under way its verdict is null."""
        result = {
            "step": self.name,
            "verdict": verdict,
            "checks": [check.document() for check in self.checks],
            "figures": self.figures,
            "tables": self.tables,
            **self.facts,
        }
        text = orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()
        files.replace(self.run.result(self.name), text + "\n")

    def _close(self) -> None:
        """End an exploratory run: its run.json, and what it brought up."""
        if self.profile.teardown == "always":
            stack.down(self.profile, self.root)
        folder.close(self.run, self.verdict, (self.name,))


def begin(name: str, *, profile: str = "local", run_dir: str = "") -> Step:
    """Begin the step `name` in the run at `run_dir`, or in a new exploratory run when that is empty.

    Raises ProfileError when the profile is refused, or when there is no project around the notebook.
    """
    root = folder.find_project(Path.cwd())
    chosen = profiles.load(profile, root)
    run = RunDir.of(Path(run_dir)) if run_dir else folder.create_run(root, chosen, kind="exploratory")
    step = Step(name, chosen, root, run, alone=not run_dir)
    events.append(run.path, "step_begun", step=name)
    step._write()
    return step


def _display(html: str) -> None:
    display(HTML(html))  # type: ignore[no-untyped-call]
