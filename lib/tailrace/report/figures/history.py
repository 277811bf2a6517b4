"""The history of runs: the p99 of each with its interval, beside the baseline's."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tailrace.numbers import number
from tailrace.report import style

MARKERS = {"PASS": ("o", style.INK), "FAIL": ("X", style.FAILURE), "INCONCLUSIVE": ("o", style.ORANGE)}


def history(runs: pd.DataFrame, *, limit_ms: float | None = None, baseline: str = "") -> Figure:
    """Draw p99 per run with its 95 % interval, oldest first; `runs` has id, verdict, n, p99_ms, p99_lo_ms, p99_hi_ms.

    The interval of the run with the id `baseline` is shaded across the figure; "passed" stands for the last run
    before the latest that passed.
    """
    known = runs.dropna(subset=["p99_ms"]).reset_index(drop=True)
    if known.empty:
        return style.nothing("History: no run has enough requests for a p99 (needs 368).")
    figure, axes = style.grid(height_in=2.6)
    ax = axes[0, 0]
    at = np.arange(len(known))
    ax.plot(at, known["p99_ms"], color=style.GRID, linewidth=1.4, zorder=1)
    for verdict, (marker, colour) in MARKERS.items():
        chosen = (known["verdict"] == verdict).to_numpy()
        if not chosen.any():
            continue
        part = known[chosen]
        ax.vlines(at[chosen], part["p99_lo_ms"], part["p99_hi_ms"], color=colour, linewidth=1.6, alpha=0.6)
        face = "none" if verdict == "INCONCLUSIVE" else colour
        ax.plot(at[chosen], part["p99_ms"], marker, color=colour, markerfacecolor=face, markersize=6.5, label=verdict)
    if baseline == "passed":
        earlier = known["id"][:-1][known["verdict"][:-1] == "PASS"]
        baseline = str(earlier.iloc[-1]) if len(earlier) else ""
    base = known[known["id"] == baseline]
    if len(base):
        low, high = float(base["p99_lo_ms"].iloc[0]), float(base["p99_hi_ms"].iloc[0])
        ax.axhspan(low, high, color=style.SLATE, alpha=0.14, linewidth=0, label=f"baseline {baseline}")
    style.milliseconds(ax, log=False, label="p99, ms, with 95 % interval")
    ax.set_ylim(0, float(np.nanmax(known["p99_hi_ms"])) * 1.1)
    style.limit(ax, limit_ms, "p99 limit")
    step = math.ceil(len(known) / 8)
    ax.set_xticks(at[::step], [short(name) for name in known["id"][::step]])
    ax.set_xlim(-0.5, len(known) - 0.5)
    ax.grid(visible=False, axis="x")
    figure.legend(loc="outside lower left", ncols=4)
    first, last = known.iloc[0], known.iloc[-1]
    return style.described(
        figure,
        f"p99 of {len(known)} runs: from {number(first['p99_ms'])} ms ({first['id']}) to {number(last['p99_ms'])} ms "
        f"({last['id']}); lowest {number(known['p99_ms'].min())}, highest {number(known['p99_ms'].max())} ms."
        + (f" The interval of the baseline {baseline} is shaded." if len(base) else ""),
    )


def short(run: str) -> str:
    """Return the day and time in a run's id, "11-23 08:18" for "20261123-081830-local-ab12"; else the id."""
    digits = run.replace("-", "")[:12]
    return f"{digits[4:6]}-{digits[6:8]} {digits[8:10]}:{digits[10:12]}" if digits.isdigit() else run[:12]
