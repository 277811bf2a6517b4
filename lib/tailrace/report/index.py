"""`runs/index.html`: all runs, newest first, with verdicts and the trend of p99."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from tailrace.host import files
from tailrace.report import catalogue, evidence, page, tables
from tailrace.report.summary import headline
from tailrace.run import documents, folder
from tailrace.run.folder import RunDir


def write(runs_dir: Path, baseline: str = "") -> Path:
    """Write `index.html` into the folder of all runs, atomically, and return its path.

    The p99 of the run with the id `baseline` is shaded in the figure of the trend.
    """
    target = folder.index(runs_dir)
    files.replace(target, html(runs_dir, baseline))
    return target


def html(runs_dir: Path, baseline: str = "") -> str:
    """Return the page of the runs in `runs_dir`."""
    table = evidence.history(runs_dir)
    load = {"runs": table}.__getitem__
    trend = catalogue.draw("history", load, baseline=baseline).svg("trend") if len(table) else ""
    rows = [_row(runs_dir, values) for values in table.iloc[::-1].to_dict("records")]
    return page.render("index.html.j2", rows=rows, trend=Markup(trend))  # noqa: S704  our own SVG


def _row(runs_dir: Path, values: dict[str, Any]) -> dict[str, Any]:
    run_dir = runs_dir / values["id"]
    results = {step: documents.result(run_dir, step) for step in documents.steps(run_dir)}
    sentences = headline(documents.run(run_dir), results)
    report = RunDir(run_dir).report.is_file()
    value, _, interval = tables.cell(values, "p99").partition(" ")
    return {**values, "sentence": " ".join(sentences), "report": report, "p99": value, "interval": interval}
