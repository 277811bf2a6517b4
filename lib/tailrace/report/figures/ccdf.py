"""The share of requests that took longer than x, by outcome, log on both axes: a straight line is a heavy tail."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace.analysis import frames
from tailrace.numbers import number, percent
from tailrace.records import ERROR, HIT, MISS
from tailrace.report import style

OUTCOMES = {
    HIT: ("answered from a cache", style.ORANGE, "-"),
    MISS: ("answered, from no cache", style.INK, "-"),
    ERROR: ("failed: time until the failure", style.FAILURE, (0, (4, 2))),
}
POINTS = 800


def ccdf(records: pd.DataFrame, *, limit_ms: float | None = None, start: frames.Start = "intended") -> Figure:
    """Draw, per outcome, the share of its requests that took longer than x; the limit is a vertical line."""
    if records.empty:
        return style.nothing("Distribution by outcome: no requests were recorded.")
    figure, axes = style.grid(height_in=3.5)
    ax = axes[0, 0]
    took_ms = np.maximum(frames.elapsed_us(records, start), 1) / 1_000
    facts = []
    for outcome, (label, colour, dash) in OUTCOMES.items():
        values = np.sort(took_ms[(records["outcome"] == outcome).to_numpy()])
        if len(values):
            _line(ax, values, f"{label}: {len(values):,}", colour, dash)
            facts.append(_fact(label, values, limit_ms))
    style.decades(ax, "x")
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(lambda share, _: percent(share))
    ax.set_xlabel("latency, ms")
    ax.set_ylabel("took longer")
    style.limit(ax, limit_ms, "limit", vertical=True)
    figure.legend(loc="outside lower left", ncols=3)
    return style.described(figure, f"Share of requests that took longer, by outcome. {' '.join(facts)}")


def _line(ax: Axes, ordered: np.ndarray, label: str, colour: str, dash: object) -> None:
    """Draw the steps of the distribution at points that are even in the log of the share."""
    n = len(ordered)
    beyond = np.unique(np.geomspace(1, n, min(n, POINTS)).astype(int))  # counts of requests at or beyond a point
    ax.step(ordered[n - beyond], beyond / n, where="post", color=colour, linestyle=dash, label=label)


def _fact(label: str, ordered: np.ndarray, limit_ms: float | None) -> str:
    text = f"{label}: {len(ordered):,}, longest {number(ordered[-1])} ms"
    if limit_ms is None:
        return f"{text}."
    return f"{text}, {percent(float((ordered > limit_ms).mean()))} beyond {number(limit_ms)} ms."
