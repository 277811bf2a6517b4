"""`runs/index.html`: the newest runs, newest first, with verdicts and the trend of p99."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from tailrace.host import files
from tailrace.report import catalogue, page, store, tables
from tailrace.run import folder
from tailrace.run.folder import RunDir


def write(runs_dir: Path, baseline: str = "") -> Path:
    """Write `index.html` into the folder of all runs, atomically, and return its path.

    The p99 of the run with the id `baseline` is shaded in the figure of the trend.
    """
    target = folder.index(runs_dir)
    files.replace(target, html(runs_dir, baseline))
    return target


def html(runs_dir: Path, baseline: str = "") -> str:
    """Return the page of the newest runs in `runs_dir`; those before them are counted."""
    runs = folder.all_runs(runs_dir)
    older, listed = runs[: -store.NEWEST], runs[-store.NEWEST :]
    summaries = store.summaries(listed)
    load = {"runs": store.frame(summaries)}.__getitem__
    trend = catalogue.draw("history", load, baseline=baseline).svg("trend") if summaries else ""
    newest_first = sorted(summaries, key=lambda row: (row["started_at"], row["id"]), reverse=True)
    rows = [_row(runs_dir, values) for values in newest_first]
    span = (older[0].id, older[-1].id) if older else ()
    return page.render("index.html.j2", rows=rows, trend=Markup(trend), older=len(older), span=span)  # noqa: S704  our own SVG


def _row(runs_dir: Path, values: dict[str, Any]) -> dict[str, Any]:
    report = RunDir(runs_dir / values["id"]).report.is_file()
    if values["n"] < 0:
        return {**values, "report": report, "n": "", "p99": "not read yet", "interval": ""}
    value, _, interval = tables.cell(values, "p99").partition(" ")
    return {**values, "report": report, "n": f"{values['n']:,}", "p99": value, "interval": interval}
