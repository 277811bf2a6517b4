"""`report.html`: one file that holds all of a run and needs nothing else. It may be mailed.

Every figure and table is made anew from the records. What is missing is said in its place, so that a run that
failed half-way has a page, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tailrace.host import files
from tailrace.report import catalogue, evidence, markup, narrative, style, tables
from tailrace.report.binding import Load
from tailrace.report.summary import headline, verdict_of
from tailrace.run import documents
from tailrace.run.folder import RunDir
from tailrace.verdict import INCONCLUSIVE, state_of


@dataclass(frozen=True)
class Section:
    """One step on the page. `figures` and `tables` are HTML; `number` is its place, from 1."""

    number: int
    step: str
    title: str
    verdict: str
    reason: str
    duration_s: float | None
    notebook: narrative.Notebook
    checks: Sequence[Mapping[str, Any]]
    figures: Sequence[Markup]
    tables: Sequence[Markup]
    facts: Sequence[tuple[str, str]]


def write(run_dir: Path) -> Path:
    """Write `report.html` into the folder of a run, in one rename, and return its path."""
    run_dir = run_dir.resolve()
    target = RunDir(run_dir).report
    files.replace(target, html(run_dir))
    return target


def html(run_dir: Path) -> str:
    """Return the page of the run at `run_dir`."""
    run = documents.run(run_dir)
    listed = {str(step.get("name")): step for step in run.get("steps") or []}
    names = documents.steps(run_dir, list(listed))
    sections = [_section(run_dir, i, name, listed.get(name, {})) for i, name in enumerate(names, 1)]
    results = {name: documents.result(run_dir, name) for name in names}
    verdict, profile = verdict_of(run), documents.profile(run_dir)
    return rendered(
        "page.html.j2",
        run=run,
        title=run.get("id") or run_dir.name,
        verdict=verdict,
        headline=headline(run, results),
        hero=_hero(run_dir, results),
        sections=sections,
        own_checks=run.get("checks") or [],
        checklist=next((r["checklist"] for r in reversed(results.values()) if r.get("checklist")), []),
        environment=run.get("environment") or {},
        profile=json.dumps(profile, indent=2, ensure_ascii=False) if profile else "",
        evidence=evidence_files(run_dir),
    )


def rendered(template: str, **values: Any) -> str:
    """Return a template of this package, filled; every address in it is text, and none can be followed."""
    folder = resources.files("tailrace.report")
    sources = {name: (folder / name).read_text(encoding="utf-8") for name in (template, "page.css")}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(sources), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    light, dark = style.variables()
    page = environment.get_template(template).render(
        **values, css=_trusted(sources["page.css"]), light=light, dark=dark, badge=_safe(markup.badge),
        sign=_safe(markup.sign), state=state_of,
    )  # fmt: skip
    return page.replace("://", ":&#47;&#47;")


def evidence_files(run_dir: Path) -> list[tuple[str, str]]:
    """Return the path, relative to the run's folder, and the size of each file that the run left."""
    left = [path for path in sorted(run_dir.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    page = RunDir(run_dir).report
    return [(str(path.relative_to(run_dir)), f"{path.stat().st_size:,}") for path in left if path != page]


def _hero(run_dir: Path, results: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """Return the figure that the page opens with: the switch, where there was one."""
    for step, result in results.items():
        for spec in result.get("figures") or []:
            if result.get("switch") and spec.get("name") == "switch":
                return _figure(evidence.Loader(run_dir, step), spec, "hero")
    return None


def _section(run_dir: Path, number: int, step: str, listed: Mapping[str, Any]) -> Section:
    result = documents.result(run_dir, step)
    load = evidence.Loader(run_dir, step)
    notes = narrative.read(RunDir(run_dir).notebook(step))
    figures = [_figure(load, spec, f"s{number}f{i}") for i, spec in enumerate(result.get("figures") or [], 1)]
    return Section(
        number=number,
        step=step,
        title=str(result.get("title") or notes.title or step),
        verdict=str(listed.get("verdict") or result.get("verdict") or INCONCLUSIVE),
        reason=str(listed.get("reason") or ("" if result else "This step left no result: it did not finish.")),
        duration_s=listed.get("duration_s"),
        notebook=notes,
        checks=result.get("checks") or [],
        figures=figures,
        tables=[_table(load, spec) for spec in result.get("tables") or []],
        facts=facts(result),
    )


def facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a step said in plain facts: those that are one value, or a few by name."""
    said = {**{k: v for k, v in result.items() if k not in RESULT}, **(result.get("facts") or {})}
    return [(name.replace("_", " "), _words(value)) for name, value in said.items() if _short(value)]


RESULT = ("step", "title", "verdict", "checks", "figures", "tables", "facts", "checklist")


def _short(value: Any) -> bool:
    if isinstance(value, Mapping):
        return len(value) <= 12 and all(not isinstance(v, Mapping | list) for v in value.values())
    return not isinstance(value, list) or (len(value) <= 12 and all(not isinstance(v, Mapping | list) for v in value))


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_words(v)}" for name, v in value.items())
    if isinstance(value, list):
        return ", ".join(_words(v) for v in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)


def _figure(load: Load, spec: Mapping[str, Any], key: str) -> Markup:
    name, caption = str(spec.get("name", "")), str(spec.get("caption") or "")
    try:
        drawn = catalogue.draw(name, load, **(spec.get("options") or {})).svg(key)
    except Exception as error:  # whatever is wrong with one figure, the page is written
        return _missing("Figure", name, error)
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup("<figure>{}{}</figure>").format(_trusted(drawn), below)


def _table(load: Load, spec: Mapping[str, Any]) -> Markup:
    name = str(spec.get("name", ""))
    try:
        return _trusted(tables.draw(name, load, str(spec.get("caption") or ""), **(spec.get("options") or {})))
    except Exception as error:
        return _missing("Table", name, error)


def _missing(kind: str, name: str, error: Exception) -> Markup:
    return Markup('<p class="missing">{} “{}” could not be made: {}</p>').format(kind, name, error)


def _safe(function: Any) -> Any:
    return lambda *values: _trusted(function(*values))


def _trusted(text: str) -> Markup:
    """Take `text` as HTML: it comes from this package, which has escaped what it took from elsewhere."""
    return Markup(text)  # noqa: S704
