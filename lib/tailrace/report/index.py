"""`runs/index.html`: all runs, newest first, with their verdicts and the trend of p99."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from tailrace import analysis
from tailrace.errors import TailraceError
from tailrace.report import catalogue, page, store, tables
from tailrace.report.summary import headline, verdict_of

COLUMNS = ["id", "started_at", "profile", "verdict", "n", "p99_ms", "p99_lo_ms", "p99_hi_ms"]
MEASURED = "03_blue_green_switch"
"""The step whose records make a run's p99; a run without it has that of all its records."""


def write(runs_dir: Path) -> Path:
    """Write `index.html` into the folder of all runs, in one rename, and return its path."""
    target, fresh = runs_dir / "index.html", runs_dir / f".index.html.{os.getpid()}"
    fresh.write_text(html(runs_dir), encoding="utf-8")
    fresh.replace(target)
    return target


def html(runs_dir: Path) -> str:
    """Return the page that lists the runs in `runs_dir`."""
    table = runs(runs_dir)
    trend = catalogue.draw("history", {"runs": table}.__getitem__).svg("trend") if len(table) else ""
    rows = [_row(runs_dir, values) for values in table.iloc[::-1].to_dict("records")]
    return page.rendered("index.html.j2", rows=rows, trend=Markup(trend))  # noqa: S704  our own SVG


def runs(runs_dir: Path) -> pd.DataFrame:
    """Return a row per run, oldest first: id, started_at, profile, verdict, n, p99_ms, p99_lo_ms, p99_hi_ms."""
    folders = [path.parent for path in runs_dir.glob("*/run.json") if not path.parent.is_symlink()]
    rows = [_summed(folder) for folder in folders]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values(["started_at", "id"], ignore_index=True)


def _summed(folder: Path) -> dict[str, Any]:
    run = store.run(folder)
    try:
        name = f"{MEASURED}/records" if (folder / "records" / MEASURED).is_dir() else "all/records"
        records = store.frame(folder, store.EVERY, name)
    except TailraceError:
        records = analysis.empty()
    row = analysis.latency(records, by=(), percentiles=("p99",)).iloc[0]
    numbers = {name: row[name] for name in ("p99_ms", "p99_lo_ms", "p99_hi_ms")}
    said = {"started_at": str(run.get("started_at") or ""), "profile": str(run.get("profile") or "")}
    return {"id": folder.name, "verdict": verdict_of(run), **said, **numbers, "n": int(row["n"])}


def _row(runs_dir: Path, values: dict[str, Any]) -> dict[str, Any]:
    folder = runs_dir / values["id"]
    results = {step: store.result(folder, step) for step in store.steps(folder)}
    said = headline(store.run(folder), results)
    report = (folder / "report.html").is_file()
    value, _, interval = tables.cell(values, "p99").partition(" ")
    return {**values, "sentence": " ".join(said), "report": report, "p99": value, "interval": interval}
