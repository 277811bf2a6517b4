"""`report.html`: one file that holds all of a run and needs nothing else. It may be mailed.

Every figure and table is made anew from the records. The page of a run that died half-way says what is missing.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tailrace.host import excerpts, files
from tailrace.numbers import number
from tailrace.report import markup, style
from tailrace.report.sections import hero, sections
from tailrace.report.summary import headline, verdict_of
from tailrace.run import documents
from tailrace.run.folder import RunDir
from tailrace.verdict import state_of


def write(run_dir: Path) -> Path:
    """Write `report.html` into the folder of a run, atomically, and return its path."""
    run_dir = run_dir.resolve()
    target = RunDir(run_dir).report
    files.replace(target, html(run_dir))
    return target


def html(run_dir: Path) -> str:
    """Return the page of the run at `run_dir`."""
    run = documents.run(run_dir)
    outcomes = {str(step.get("name")): step for step in run.get("steps") or []}
    results = {step: documents.result(run_dir, step) for step in documents.steps(run_dir, list(outcomes))}
    steps = sections(run_dir, results, outcomes)
    profile = documents.profile(run_dir)
    return render(
        "page.html.j2",
        run=run,
        title=run.get("id") or run_dir.name,
        verdict=verdict_of(run),
        headline=headline(run, results),
        hero=hero(steps, results),
        sections=steps,
        own_checks=run.get("checks") or [],
        checklist=next((r["checklist"] for r in reversed(results.values()) if r.get("checklist")), []),
        environment=run.get("environment") or {},
        profile=json.dumps(profile, indent=2, ensure_ascii=False) if profile else "",
        evidence=evidence_files(run_dir),
    )


def render(template: str, **values: Any) -> str:
    """Return a template of this package, filled in; every address in it is text, so none can be followed."""
    folder = resources.files("tailrace.report")
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in (template, "page.css")}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    light, dark = style.variables()
    page = environment.get_template(template).render(
        **values, css=Markup(sources["page.css"]), light=light, dark=dark,  # noqa: S704  our own CSS
        badge=_escaped(markup.badge), sign=_escaped(markup.sign), why=_escaped(markup.why),
        state=state_of, number=number,
    )  # fmt: skip
    return excerpts.harmless(page.replace("://", ":&#47;&#47;"))


def evidence_files(run_dir: Path) -> list[tuple[str, str]]:
    """Return the path, relative to the run's folder, and the size of each file that the run left."""
    left = [path for path in sorted(run_dir.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    made = (RunDir(run_dir).report, RunDir(run_dir).summary)  # from the evidence
    return [(str(path.relative_to(run_dir)), f"{path.stat().st_size:,}") for path in left if path not in made]


def _escaped(function: Any) -> Any:
    """Return `function` for use in a template, which takes its HTML as it is: `markup` escapes what it shows."""
    return lambda *values: Markup(function(*values))  # noqa: S704
