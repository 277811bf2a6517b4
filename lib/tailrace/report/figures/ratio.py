"""The ratio of one arm of a comparison to another, window by window, with the effect and its interval."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace.analysis.compare import Comparison, beside, compare
from tailrace.numbers import number
from tailrace.report import style


def ratio(
    records: pd.DataFrame,
    *,
    by: str = "colour",
    a: str = "blue",
    b: str = "green",
    metric: str = "p99",
    windows: int = 30,
) -> Figure:
    """Draw the ratio of `metric` in arm `b` to that in arm `a`, per paired window, and the Hodges–Lehmann effect."""
    arms = beside(records, by, a, b)
    metrics = (metric, *(name for name in ("p99", "p50", "p95") if name != metric), "errors")
    compared = compare(arms[0], arms[1], metrics=metrics, windows=windows)
    pairs = compared.pairs
    if pairs.empty:
        return style.nothing(f"{b} over {a}: n/a, no window has 100 requests of both.")
    figure, axes = style.grid(1, 2, height_in=3.1, width_ratios=(2.4, 1))
    over_time, effects = axes[0]
    values = (pairs[f"{metric}_b"] / pairs[f"{metric}_a"]).to_numpy()
    row = compared.table.iloc[0]
    if math.isfinite(row["ratio_lo"]):
        over_time.axhspan(row["ratio_lo"], row["ratio_hi"], color=style.SLATE, alpha=0.18, linewidth=0)
    over_time.axhline(row["ratio"], color=style.INK, linewidth=1.4)
    over_time.vlines(pairs["t_s"], 1, values, color=style.SLATE, linewidth=1)
    over_time.plot(pairs["t_s"], values, "o", color=style.INK, markersize=4.5)
    clock = "time" if compared.concurrent else "time since each arm's first request"
    over_time.set_xlabel(f"{clock}, s")
    over_time.set_ylabel(f"{metric} of {b} over {a}")
    _ratios(over_time, "y")
    _effects(effects, compared)
    return style.described(figure, f"{metric} of {b} over {a} in {len(pairs)} windows: {compared.judgement.text}.")


def _effects(ax: Axes, compared: Comparison) -> None:
    """Draw the effect of each latency metric with its interval."""
    table = compared.table[compared.table["metric"] != "errors"].reset_index(drop=True)
    for i, row in enumerate(table.to_dict("records")):
        colour = style.PERCENTILE.get(row["metric"], style.INK)
        if math.isfinite(row["ratio_lo"]):
            ax.plot([row["ratio_lo"], row["ratio_hi"]], [i, i], color=colour, linewidth=2)
        ax.plot(row["ratio"], i, "o", color=colour, markersize=6)
        ax.annotate(f"{number(row['ratio'])}×", (row["ratio"], i), xytext=(0, 6), ha="center",
                    textcoords="offset points", fontsize=8.5)  # fmt: skip
    names = [f"{row.metric}{' (primary)' if row.primary else ''}" for row in table.itertuples()]
    ax.set_yticks(range(len(table)), names)
    ax.set_ylim(len(table) - 0.4, -0.7)
    ax.set_xlabel("effect, with 95 % interval")
    _ratios(ax, "x")
    ax.grid(visible=False, axis="y")


def _ratios(ax: Axes, side: str) -> None:
    """Make an axis one of ratios: log and symmetric around 1, with a line at 1."""
    axis = ax.xaxis if side == "x" else ax.yaxis
    low, high = ax.get_xlim() if side == "x" else ax.get_ylim()
    reach = max(1.25, high, 1 / max(low, 1e-3)) if low > 0 else max(1.25, high)
    (ax.set_xscale if side == "x" else ax.set_yscale)("log")
    (ax.set_xlim if side == "x" else ax.set_ylim)(1 / reach, reach)
    ticks = [t for t in (0.1, 0.2, 0.5, 0.8, 0.9, 1, 1.1, 1.25, 2, 5, 10) if 1 / reach <= t <= reach]
    ticks = [t for t in ticks if reach < 2 or t not in (0.8, 0.9, 1.1, 1.25)]
    axis.set_ticks(ticks, [f"{number(t)}×" for t in ticks])
    axis.set_ticks([], minor=True)
    (ax.axvline if side == "x" else ax.axhline)(1, color=style.INK, linewidth=0.9, linestyle=(0, (5, 3)))
