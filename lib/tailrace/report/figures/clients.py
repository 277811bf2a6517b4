"""The forms of the client side by side: success, latency, upstream calls, cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace.analysis.variants import variants
from tailrace.numbers import number, percent
from tailrace.report import style

POINTS = {"p50": "o", "p95": "D", "p99": "s"}


def clients(
    records: pd.DataFrame, *, by: str = "phase", order: Sequence[str] = (), limit_ms: float | None = None
) -> Figure:
    """Draw a row per form of the client: success rate, p50/p95/p99, upstream calls per request, and cost."""
    if records.empty:
        return style.nothing("Clients: no requests were recorded.")
    table = variants(records, by).set_index(by)
    table = table.loc[[name for name in order if name in table.index] or list(table.index)]
    figure, axes = style.grid(1, 4, height_in=1.15 + 0.42 * len(table), sharey=True, width_ratios=(1, 1.9, 1, 1))
    success, latency, calls, cost = axes[0]
    _bars(success, table["success_rate"] * 100, "succeeded, %", lambda v: percent(v / 100))
    success.set_xlim(0, 100)
    _percentiles(latency, table, limit_ms)
    _bars(calls, table["calls_per_request"], "upstream calls per request", number)
    _bars(cost, table["cost_usd"] * 1_000 / table["requests"], "USD per 1,000 requests", number)
    success.set_yticks(range(len(table)), [str(name) for name in table.index], color=style.INK)
    success.set_ylim(len(table) - 0.5, -0.5)
    return style.described(figure, _facts(table))


def _bars(ax: Axes, values: pd.Series, label: str, text: Callable[[float], str]) -> None:
    filled = values.fillna(0)
    ax.barh(range(len(values)), filled, height=0.5, color=style.SLATE, alpha=0.45, linewidth=0)
    largest = float(filled.max()) or 1.0
    for row, value in enumerate(values.tolist()):
        inside = not math.isnan(value) and value > 0.6 * largest
        at, side = (0 if math.isnan(value) else value), ("right" if inside else "left")
        ax.annotate(text(value), (at, row), xytext=(-3 if inside else 3, 0), textcoords="offset points", ha=side,
                    va="center", fontsize=8.5)  # fmt: skip
    ax.set_xlabel(label)
    ax.grid(visible=False, axis="y")
    ax.set_xlim(0, largest * 1.06)


def _percentiles(ax: Axes, table: pd.DataFrame, limit_ms: float | None) -> None:
    for row, form in enumerate(table.to_dict("records")):
        known = [form[f"{name}_ms"] for name in POINTS if not math.isnan(form[f"{name}_ms"])]
        if known:
            ax.plot([min(known), max(known)], [row, row], color=style.GRID, linewidth=5, zorder=1)
    for name, marker in POINTS.items():
        low, middle, high = (table[f"{name}{kind}_ms"].to_numpy() for kind in ("_lo", "", "_hi"))
        colour = style.PERCENTILE[name]
        ax.hlines(range(len(table)), low, high, color=colour, linewidth=1.6, zorder=2)
        ax.plot(middle, range(len(table)), marker, color=colour, markersize=6, markeredgewidth=0, label=name, zorder=3)
    style.decades(ax, "x")
    ax.set_xlabel("latency of successes, ms, with 95 % interval")
    ax.grid(visible=False, axis="y")
    style.limit(ax, limit_ms, "limit", vertical=True)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2)


def _facts(table: pd.DataFrame) -> str:
    facts = [
        f"{row.Index}: {percent(row.success_rate)} of {row.requests:,} succeeded, p50 {number(row.p50_ms)}, "
        f"p95 {number(row.p95_ms)}, p99 {number(row.p99_ms)} ms, {number(row.calls_per_request)} upstream calls "
        f"per request, cost {number(row.cost_usd)} USD"
        for row in table.itertuples()
    ]
    return f"Forms of the client compared. {'. '.join(facts)}."
