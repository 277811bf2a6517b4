"""Percentiles per window of time, with gaps where a window has too few requests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import analysis
from tailrace.analysis import frames
from tailrace.numbers import number
from tailrace.percentiles import column, needs
from tailrace.report import style
from tailrace.report.figures import time


def windows(
    records: pd.DataFrame,
    marks: pd.DataFrame | None = None,
    *,
    width_s: float = 1.0,
    percentiles: tuple[str, ...] = ("p50", "p95", "p99"),
    limits_ms: dict[str, float] | None = None,
    start: frames.Start = "intended",
) -> Figure:
    """Draw each percentile per window of `width_s`; below, successes and failures per second."""
    if records.empty:
        return style.nothing("Percentiles per window: no requests were recorded.")
    table = analysis.windows(records, width_s, start=start, percentiles=percentiles)
    number_of = (table["t_s"] / width_s).round().astype(int)
    table = table.assign(i=number_of).set_index("i").reindex(range(number_of.max() + 1))
    gapless = np.arange(len(table)) * width_s
    figure, axes = style.grid(2, 1, height_in=4.1, sharex=True, height_ratios=(4, 1.1))
    ax, counts = axes[:, 0]
    for name in percentiles:
        _line(ax, gapless, width_s, table[column(name)].to_numpy(), name)
    for name, limit in (limits_ms or {}).items():
        if name in percentiles:
            style.limit(ax, limit, f"{name} limit")
    style.milliseconds(ax)
    figure.legend(loc="outside lower left", ncols=len(percentiles))
    edges = np.append(gapless, gapless[-1] + width_s)
    lasted = float(time.seconds(records["intended_ns"].max(), int(records["intended_ns"].min())))
    good, bad = (table[name].fillna(0).to_numpy() / time.lengths(edges, lasted) for name in ("n", "errors"))
    counts.stairs(good, edges, fill=True, color=style.SLATE, alpha=0.55, linewidth=0)
    counts.stairs(good + bad, edges, baseline=good, fill=True, color=style.FAILURE, linewidth=0)
    counts.set_ylim(0)
    counts.yaxis.set_major_formatter(style.plain)
    counts.set_ylabel("requests/s")
    counts.set_xlabel("time since the first request, s")
    time.shade([ax, counts], marks, int(records["intended_ns"].min()), float(edges[-1]))
    counts.set_xlim(0, edges[-1])
    return style.described(figure, _facts(table, percentiles, width_s))


def _line(ax: Axes, at: np.ndarray, width_s: float, values: np.ndarray, name: str) -> None:
    colour = style.PERCENTILE.get(name, style.INK)
    known = int(np.isfinite(values).sum())
    missing = "" if known else f" n/a (needs {needs(name):,} per window)"
    dots = "o" if known < 120 else ""
    ax.plot(at + width_s / 2, values, marker=dots, markersize=3.2, color=colour, label=name + missing)


def _facts(table: pd.DataFrame, percentiles: tuple[str, ...], width_s: float) -> str:
    facts = []
    for name in percentiles:
        values = table[column(name)].dropna()
        if values.empty:
            facts.append(f"{name} n/a (needs {needs(name):,} per window)")
        else:
            worst = number(float(values.idxmax()) * width_s)
            facts.append(f"{name} from {number(values.min())} to {number(values.max())} ms, worst at {worst} s")
    gaps = int((table["n"].fillna(0) == 0).sum())
    return (
        f"Percentiles in {len(table)} windows of {number(width_s)} s: {'; '.join(facts)}. "
        f"{int(table['errors'].sum()):,} failures; {gaps} windows without a success."
    )
