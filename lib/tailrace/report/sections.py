"""The sections of a page, one for each step: its figures, tables, checks, facts and notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tailrace.numbers import number
from tailrace.report import drawing, evidence, narrative, style, tables
from tailrace.report.binding import Load
from tailrace.report.drawing import Drawing, Specification
from tailrace.run.folder import RunDir
from tailrace.verdict import INCONCLUSIVE

RESULT = ("step", "title", "verdict", "checks", "figures", "tables", "facts", "checklist")
"""Keys of a result that the page shows in places of their own; all others are facts."""


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


def sections(
    run_dir: Path, results: Mapping[str, Mapping[str, Any]], outcomes: Mapping[str, Mapping[str, Any]]
) -> list[Section]:
    """Return a section for each of `results`; `outcomes` are the steps in run.json, by name."""
    figures = _figures(run_dir, results)
    return [
        _section(run_dir, number, step, result, outcomes.get(step, {}), figures[step])
        for number, (step, result) in enumerate(results.items(), 1)
    ]


def hero(steps: Sequence[Section], results: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """Return the figure that the page opens with: the first one of the switch, in a step that made a switch."""
    for section in steps:
        result = results[section.step]
        for place, figure in enumerate(result.get("figures") or []):
            if result.get("switch") and figure.get("name") == "switch":
                again = style.rekeyed(str(section.figures[place]), _key(section.number, place), "hero")
                return Markup(again)  # noqa: S704  our own SVG
    return None


def facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the plain facts of a result: those that are one value, or a few values by name."""
    plain = {**{k: v for k, v in result.items() if k not in RESULT}, **(result.get("facts") or {})}
    return [(name.replace("_", " "), _words(value)) for name, value in plain.items() if _is_short(value)]


def _section(
    run_dir: Path, number: int, step: str, result: Mapping[str, Any], outcome: Mapping[str, Any],
    figures: Sequence[Markup],
) -> Section:  # fmt: skip
    notebook = narrative.read(RunDir(run_dir).notebook(step))
    load = evidence.Loader(run_dir, step)
    return Section(
        number=number,
        step=step,
        title=str(result.get("title") or notebook.title or step),
        verdict=str(outcome.get("verdict") or result.get("verdict") or INCONCLUSIVE),
        reason=str(outcome.get("reason") or ("" if result else "This step left no result: it did not finish.")),
        duration_s=outcome.get("duration_s"),
        notebook=notebook,
        checks=result.get("checks") or [],
        figures=figures,
        tables=[_table(load, table) for table in result.get("tables") or []],
        facts=facts(result),
    )


def _figures(run_dir: Path, results: Mapping[str, Mapping[str, Any]]) -> dict[str, list[Markup]]:
    """Return the figures of each step, all drawn together."""
    specified = [
        (step, figure, _specification(run_dir, step, figure, _key(section, number)))
        for section, (step, result) in enumerate(results.items(), 1)
        for number, figure in enumerate(result.get("figures") or [])
    ]
    drawings = drawing.draw_all([specification for _, _, specification in specified])
    html: dict[str, list[Markup]] = {step: [] for step in results}
    for (step, figure, _), drawn in zip(specified, drawings, strict=True):
        html[step].append(_figure(figure, drawn))
    return html


def _specification(run_dir: Path, step: str, figure: Mapping[str, Any], key: str) -> Specification:
    return Specification(evidence.Loader(run_dir, step), str(figure.get("name", "")), key, figure.get("options") or {})


def _key(section: int, figure: int) -> str:
    """Return the prefix of the ids in a figure: unique on the page."""
    return f"s{section}f{figure + 1}"


def _figure(figure: Mapping[str, Any], drawn: Drawing) -> Markup:
    if drawn.error:
        return _missing("Figure", str(figure.get("name", "")), drawn.error)
    caption = str(figure.get("caption") or "")
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup("<figure>{}{}</figure>").format(Markup(drawn.svg), below)  # noqa: S704  our own SVG


def _table(load: Load, table: Mapping[str, Any]) -> Markup:
    name, caption, options = str(table.get("name", "")), str(table.get("caption") or ""), table.get("options") or {}
    try:
        return Markup(tables.draw(name, load, caption, **options))  # noqa: S704  escaped by `markup`
    except Exception as error:  # whatever is wrong with one table, the page is written
        return _missing("Table", name, str(error))


def _missing(kind: str, name: str, error: str) -> Markup:
    return Markup('<p class="missing">{} “{}” could not be made: {}</p>').format(kind, name, error)


def _is_short(value: Any) -> bool:
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return len(values) <= 12 and all(not isinstance(v, Mapping | list) for v in values)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_words(v)}" for name, v in value.items())
    if isinstance(value, list):
        return ", ".join(_words(v) for v in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not known"}[value]
    return f"{value:,}" if isinstance(value, int) else number(value) if isinstance(value, float) else str(value)
