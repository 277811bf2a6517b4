"""The percentile spectrum: latency over the share of requests that are slower."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import analysis, percentiles
from tailrace.analysis import frames, labels
from tailrace.numbers import number
from tailrace.report import style

TICKS = ("p50", "p75", "p90", "p95", "p99", "p99.5", "p99.9", "p99.99", "p99.999")
LINES: Final[dict[frames.Start, tuple[str, str]]] = {
    "intended": ("corrected: from the intended start", "-"),
    "sent": ("uncorrected: from the moment it was sent", ":"),
}


def spectrum(
    records: pd.DataFrame, *, by: str = "", limits_ms: dict[str, float] | None = None, points: int = 60
) -> Figure:
    """Draw every percentile that n allows, log in 1 - p, with its 95 % interval: from the intended and the sent start.

    With `by` there is a line per value of that column, from the intended start. `limits_ms` holds the limit of each
    percentile to draw.
    """
    counted = int((~frames.failed(records)).sum())
    names = reachable(counted, points)
    if not names:
        return style.nothing(
            f"Percentile spectrum: n/a (needs {percentiles.needs('p50')} successes, there are {counted})."
        )
    figure, axes = style.grid(height_in=3.6)
    ax = axes[0, 0]
    left_out = ""
    if by:
        records, left_out = labels.limited(records, by)
        for colour, (value, part) in zip(style.colours(records[by], by), records.groupby(by, sort=True), strict=True):
            _line(ax, part, "intended", names, colour, str(value) or "unknown", "-")
    else:
        for start, (label, dash) in LINES.items():
            _line(ax, records, start, names, style.INK if start == "intended" else style.ORANGE, label, dash)
    for name, limit in (limits_ms or {}).items():
        ax.plot(beyond(name), limit, marker="v", markersize=7, color=style.INK, markeredgewidth=0, zorder=5)
        ax.annotate(f"{name} limit {style.plain(limit)} ms", (beyond(name), limit), xytext=(7, 0), va="center",
                    textcoords="offset points", fontsize=8.5)  # fmt: skip
    _axes(ax, names[-1])
    figure.legend(loc="outside lower left", ncols=3)
    return style.described(figure, f"{_facts(records, by)} {left_out}")


def reachable(n: int, points: int) -> list[str]:
    """Return about `points` percentiles from p50 to the highest that `n` values allow, even in log(1 - p)."""
    if n < percentiles.needs("p50"):
        return []
    ceiling = 1 - 0.025 ** (1 / n)  # the least 1 - p whose interval lies within n values
    steps = np.geomspace(0.5, max(ceiling * 1.001, 1e-7), points) if ceiling < 0.5 else np.array([0.5])
    names = dict.fromkeys(percentiles.named(round(100 * (1 - float(s)), 6)) for s in steps)
    return [name for name in names if percentiles.needs(name) <= n]


def beyond(percentile: str) -> float:
    """Return where `percentile` is on the axis: 1 / (1 - p)."""
    return float(1 / (1 - percentiles.share(percentile)))


def _line(
    ax: Axes, records: pd.DataFrame, start: frames.Start, names: list[str], colour: str, label: str, dash: str
) -> None:
    row = analysis.latency(records, by=(), start=start, percentiles=names).iloc[0]
    x = [beyond(name) for name in names]
    middle, low, high = ([float(row[percentiles.column(name, kind)]) for name in names] for kind in ("", "lo", "hi"))
    if dash == "-":
        ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0)
    ax.plot(x, middle, dash, color=colour, label=f"{label}, n = {int(row['n']):,}", zorder=3)


def _axes(ax: Axes, last: str) -> None:
    ax.set_xscale("log")
    shown = [name for name in TICKS if beyond(name) <= beyond(last) * 1.05]
    ax.set_xticks([beyond(name) for name in shown], [name[1:] + " %" for name in shown])
    ax.set_xticks([], minor=True)
    ax.set_xlim(1.93, max(beyond(last), 10) * 1.04)
    ax.set_xlabel("share of successful requests that are faster")
    style.milliseconds(ax)


def _facts(records: pd.DataFrame, by: str) -> str:
    table = analysis.latency(records, by=[by] if by else [], percentiles=("p50", "p99", "p99.9"))
    facts = []
    for row in table.to_dict("records"):
        values = [
            f"p{p} {number(row[c])} ms [{number(row[c[:-3] + '_lo_ms'])}, {number(row[c[:-3] + '_hi_ms'])}]"
            for p, c in (("50", "p50_ms"), ("99", "p99_ms"), ("99.9", "p999_ms"))
            if not math.isnan(row[c])
        ]
        facts.append(f"{row[by] if by else 'All'} (n = {row['n']:,}): {', '.join(values) or 'too few requests'}")
    return f"Percentile spectrum from the intended start with its 95 % interval. {'. '.join(facts)}."
