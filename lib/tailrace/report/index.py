"""`runs/index.html`: all runs, newest first, with their verdicts and the trend of p99."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tailrace.report import catalogue, page, store, tables
from tailrace.report.summary import headline


def write(runs_dir: Path, baseline: str = "") -> Path:
    """Write `index.html` into the folder of all runs, in one rename, and return its path.

    `baseline` is the id of the run whose p99 is shaded through the history.
    """
    target, fresh = runs_dir / "index.html", runs_dir / f".index.html.{os.getpid()}"
    fresh.write_text(html(runs_dir, baseline), encoding="utf-8")
    fresh.replace(target)
    return target


def html(runs_dir: Path, baseline: str = "") -> str:
    """Return the page that lists the runs in `runs_dir`."""
    table = store.history(runs_dir)
    load = {"runs": table}.__getitem__
    trend = catalogue.draw("history", load, baseline=baseline).svg("trend") if len(table) else ""
    rows = [_row(runs_dir, values) for values in table.iloc[::-1].to_dict("records")]
    return page.rendered("index.html.j2", rows=rows, trend=Markup(trend))  # noqa: S704  our own SVG


def _row(runs_dir: Path, values: dict[str, Any]) -> dict[str, Any]:
    folder = runs_dir / values["id"]
    results = {step: store.result(folder, step) for step in store.steps(folder)}
    said = headline(store.run(folder), results)
    report = (folder / "report.html").is_file()
    value, _, interval = tables.cell(values, "p99").partition(" ")
    return {**values, "sentence": " ".join(said), "report": report, "p99": value, "interval": interval}
