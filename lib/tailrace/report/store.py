"""What the list of all runs needs of each run, kept small beside it: `runs/<id>/summary.json`.

The records of an ended run do not change, so its percentiles are computed once, and a new run costs the same after ten
runs as after thousands. A summary is of one content of `run.json`: of another one, damaged or gone, it is made anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from tailrace import analysis
from tailrace.host import files
from tailrace.report import evidence
from tailrace.report.summary import headline
from tailrace.run import documents, folder
from tailrace.run.folder import RunDir

HISTORY: Final = ["id", "started_at", "profile", "verdict", "n", "p99_ms", "p99_lo_ms", "p99_hi_ms"]
LIMITS: Final = HISTORY[5:]
NEWEST: Final = 200
"""So many runs are listed and drawn; those before them are counted."""
PATIENCE_S: Final = 1.0
"""So long one list of runs computes summaries that are not there; the others get theirs with later lists."""


def history(runs_dir: Path) -> pd.DataFrame:
    """Return a row for each of the newest runs, oldest first: id, started_at, profile, verdict, n, p99_ms and its ends.

    `n` is -1 where the records were not read yet.
    """
    return frame(summaries(newest(runs_dir)))


def newest(runs_dir: Path) -> list[RunDir]:
    """Return the newest runs in `runs_dir`, at most `NEWEST`, oldest first."""
    return folder.all_runs(runs_dir)[-NEWEST:]


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return summaries as the frame of the history, oldest first."""
    return pd.DataFrame(rows, columns=HISTORY).sort_values(["started_at", "id"], ignore_index=True)


def summaries(runs: Sequence[RunDir], clock: Callable[[], float] = time.monotonic) -> list[dict[str, Any]]:
    """Return the summary of each of `runs`: the columns of the history, and `sentence`.

    Where it was not kept it is computed and kept, of the last run first, and of the others while `PATIENCE_S` lasts.
    """
    deadline = clock() + PATIENCE_S
    found = {}
    for place, run in enumerate(reversed(runs)):
        found[run.id] = _kept(run) or _computed(run, full=place == 0 or clock() < deadline)
    return [found[run.id] for run in runs]


def _kept(run: RunDir) -> dict[str, Any] | None:
    """Return the summary that is kept for this content of `run.json`; None without one."""
    document = documents.read(run.summary)
    row = document.get("row")
    if not isinstance(row, dict) or document.get("of") != _digest(run):
        return None
    numbers = {name: row.get(name) if row.get(name) is not None else math.nan for name in LIMITS}
    texts = {name: row.get(name) for name in ("started_at", "profile", "verdict", "sentence")}
    if not (type(row.get("n")) is int and all(type(value) in (int, float) for value in numbers.values())):
        return None
    return {"id": run.id, "n": row["n"]} | {name: str(text or "") for name, text in texts.items()} | numbers


def _computed(run: RunDir, full: bool) -> dict[str, Any]:
    """Return the summary of a run and, when it has ended, keep it; without `full`, its records are not read."""
    digest, document = _digest(run), documents.run(run.path)
    results = {step: documents.result(run.path, step) for step in documents.steps(run.path)}
    texts = {name: str(document.get(name) or "") for name in ("started_at", "profile")}
    texts |= {
        "verdict": str(document.get("verdict") or "INCONCLUSIVE"),
        "sentence": " ".join(headline(document, results)),
    }
    summary = {"id": run.id, **texts, "n": -1} | dict.fromkeys(LIMITS, math.nan)
    if not full:
        return summary
    row = analysis.latency(evidence.subject_records(run.path), by=(), percentiles=("p99",)).iloc[0]
    summary |= {"n": int(row["n"])} | {name: float(row[name]) for name in LIMITS}
    if document.get("verdict"):
        _keep(run, digest, summary)
    return summary


def _keep(run: RunDir, digest: str, summary: dict[str, Any]) -> None:
    """Keep the summary; where nothing can be written, the next list computes it again."""
    row = {name: None if value != value else value for name, value in summary.items()}  # JSON has no NaN
    try:
        files.replace(run.summary, json.dumps({"of": digest, "row": row}, ensure_ascii=False) + "\n")
    except OSError:
        return


def _digest(run: RunDir) -> str:
    try:
        return hashlib.blake2b(run.record.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return ""
