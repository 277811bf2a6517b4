"""Errors, retries and cache hits over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace.analysis import frames
from tailrace.numbers import number, percent
from tailrace.records import HIT
from tailrace.report import style
from tailrace.report.figures import time

KINDS = 5


def events(records: pd.DataFrame, marks: pd.DataFrame | None = None, *, width_s: float = 1.0) -> Figure:
    """Draw, per window of `width_s`, failures by class, retries per request, and the share answered from a cache."""
    if records.empty:
        return style.nothing("Errors, retries and hits: no requests were recorded.")
    origin = int(records["intended_ns"].min())
    at = time.seconds(records["intended_ns"], origin)
    edges = np.arange(0, at.max() + width_s, width_s)
    edges = edges if len(edges) > 1 else np.array([0, width_s])
    total = np.histogram(at, edges)[0]
    figure, axes = style.grid(3, 1, height_in=4.6, sharex=True)
    errors, retries, hits = axes[:, 0]
    classes = _failures(errors, records, at, edges)
    again = np.maximum(records["attempts"].to_numpy() - 1, 0)
    hit = (records["outcome"] == HIT).to_numpy()
    _share(retries, np.histogram(at, edges, weights=again)[0], total, edges, style.ORANGE)
    _share(hits, np.histogram(at[hit], edges)[0], total, edges, style.SLATE)
    errors.set_ylabel("failures/s")
    retries.set_ylabel("retries/request")
    hits.set_ylabel("from cache")
    hits.set_ylim(0, 1)
    hits.yaxis.set_major_formatter(lambda share, _: percent(share))
    hits.set_xlabel("time since the first request, s")
    time.shade([errors, retries, hits], marks, origin, float(edges[-1]))
    hits.set_xlim(0, edges[-1])
    if classes:
        figure.legend(loc="outside lower left", ncols=KINDS)
    named = ", ".join(f"{n:,} {name}" for name, n in classes.items()) or "none"
    return style.described(
        figure,
        f"Of {len(records):,} requests over {number(edges[-1])} s: failures: {named}; {int(again.sum()):,} retries; "
        f"{percent(float(hit.mean()))} from a cache.",
    )


def _failures(ax: Axes, records: pd.DataFrame, at: np.ndarray, edges: np.ndarray) -> dict[str, int]:
    """Stack the failures of each class, the most frequent at the bottom; return the number of each."""
    failed = frames.failed(records)
    kinds = records.loc[failed, "error_type"].replace("", "unknown").value_counts()
    below = np.zeros(len(edges) - 1)
    counted = {str(name): int(n) for name, n in kinds.items()}
    names = records["error_type"].replace("", "unknown").to_numpy()
    for i, (name, n) in enumerate(counted.items()):
        height = np.histogram(at[failed & (names == name)], edges)[0] / np.diff(edges)
        label = f"{name}: {n:,}" if i < KINDS else None
        ax.stairs(below + height, edges, baseline=below, fill=True, color=style.FAILURE, alpha=max(0.25, 1 - 0.2 * i),
                  linewidth=0, label=label)  # fmt: skip
        below = below + height
    ax.set_ylim(0, max(1.0, float(below.max()) * 1.1))
    return counted


def _share(ax: Axes, part: np.ndarray, total: np.ndarray, edges: np.ndarray, colour: str) -> None:
    share = np.divide(part, total, out=np.zeros(len(total)), where=total > 0)
    ax.stairs(share, edges, fill=True, color=colour, alpha=0.55, linewidth=0)
    ax.set_ylim(0, max(0.05, float(share.max()) * 1.1))
