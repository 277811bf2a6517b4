"""Latency over the offered rate, with the knee: the highest rate within the limits."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import percentiles
from tailrace.analysis import capacity
from tailrace.numbers import number, percent
from tailrace.report import style


def ramp(
    records: pd.DataFrame,
    *,
    by: str = "",
    slices: int = 12,
    limit_ms: float | None = None,
    percentile: str = "p95",
    error_rate: float = 0.01,
    knee_rps: float | None = None,
) -> Figure:
    """Draw p50, p95 and p99 over the offered rate: per value of `by` (a sweep), or per slice of time (a ramp).

    The knee is `knee_rps`, from a search for the capacity; without it, the highest rate up to which all rates are
    within the limits.
    """
    table = capacity.rates(records, by, slices) if len(records) else pd.DataFrame()
    if table.empty:
        return style.nothing("Latency over rate: no requests were recorded.")
    figure, axes = style.grid(height_in=3.5)
    ax = axes[0, 0]
    for name in ("p50", "p95", "p99"):
        _line(ax, table, name)
    failing = table[table["error_rate"] > error_rate]
    column = percentiles.column(percentile)
    if len(failing):
        ax.plot(failing["rate_rps"], failing[column], "x", color=style.FAILURE, markersize=8, markeredgewidth=2,
                label=f"more than {percent(error_rate)} failed", zorder=5)  # fmt: skip
    style.milliseconds(ax)
    style.limit(ax, limit_ms, f"{percentile} limit")
    knee = capacity.knee(table, limit_ms, percentile, error_rate) if limit_ms else math.nan
    knee = knee if knee_rps is None else knee_rps
    ax.set_xlabel("offered rate, requests/s")
    ax.set_xlim(0, float(table["rate_rps"].max()) * 1.04)
    _mark(ax, knee, beyond=not float(table["rate_rps"].max()) > knee * 1.02)
    figure.legend(loc="outside lower left", ncols=4)
    return style.described(figure, _facts(table, knee, limit_ms, percentile))


def _mark(ax: Axes, knee: float, beyond: bool) -> None:
    """Draw the knee with its label above, on the side that has room; `beyond`: all measured rates are within."""
    if math.isnan(knee):
        return
    place = knee / ax.get_xlim()[1]
    side = "left" if place < 0.3 else "right" if place > 0.7 else "center"
    ax.axvline(knee, color=style.INK, linewidth=1.2)
    label = f"all up to {number(knee)} requests/s" if beyond else f"knee: {number(knee)} requests/s"
    ax.annotate(f"{label} within the limits", (knee, 1), xytext=(0, 4), ha=side, fontweight="bold",
                xycoords=ax.get_xaxis_transform(), textcoords="offset points")  # fmt: skip


def _line(ax: Axes, table: pd.DataFrame, name: str) -> None:
    colour = style.PERCENTILE[name]
    kinds = ("", "lo", "hi")
    middle, low, high = (table[percentiles.column(name, kind)].to_numpy() for kind in kinds)
    ax.fill_between(table["rate_rps"], low, high, color=colour, alpha=0.14, linewidth=0)
    known = "" if table[percentiles.column(name)].notna().any() else f" n/a (needs {percentiles.needs(name):,})"
    ax.plot(table["rate_rps"], middle, "-o", markersize=4, color=colour, label=name + known)


def _facts(table: pd.DataFrame, knee: float, limit_ms: float | None, percentile: str) -> str:
    column = percentiles.column(percentile)
    rates = [
        f"{number(row['rate_rps'])}/s: {number(row[column])} ms, {percent(row['error_rate'])} failed"
        for row in table.to_dict("records")
    ]
    within = ""
    if limit_ms is not None:
        highest = "no measured rate is" if math.isnan(knee) else f"{number(knee)} requests/s is the highest rate"
        within = f" Within {number(limit_ms)} ms: {highest}."
    return f"{percentile} over the offered rate. {'; '.join(rates)}.{within}"
