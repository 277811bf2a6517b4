"""The switch: every request is a point in the colour that served it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import analysis
from tailrace.analysis import frames
from tailrace.numbers import number
from tailrace.report import style
from tailrace.report.figures import time

SHOWN = ("blue", "green", "")


def switch(
    records: pd.DataFrame,
    marks: pd.DataFrame | None = None,
    *,
    limit_ms: float | None = None,
    limit_name: str = "p99 limit",
    start: frames.Start = "intended",
) -> Figure:
    """Draw latency over time, failures on top, phases shaded; below, the requests per second of each colour."""
    if records.empty:
        return style.nothing("The switch: no requests were recorded.")
    origin = int(records["intended_ns"].min())
    at = time.seconds(records["intended_ns"], origin)
    latency = np.maximum(frames.elapsed_us(records, start), 1) / 1_000
    failed = frames.failed(records)
    colour = records["colour"].to_numpy(dtype=object)
    end = float(at.max()) * 1.005 + 1e-9
    figure, axes = style.grid(2, 1, height_in=4.7, sharex=True, height_ratios=(5, 1.15))
    points, rates = axes[:, 0]
    for name in SHOWN:
        _points(points, at, latency, ~failed & (colour == name), name)
    _failures(points, at[failed], latency[failed])
    style.milliseconds(points)
    style.limit(points, limit_ms, limit_name)
    _rates(rates, at, colour, failed, end)
    time.shade([points, rates], marks, origin, end)
    rates.set_xlim(0, end)
    rates.set_xlabel("time since the first request, s")
    figure.legend(loc="outside lower left", ncols=4, markerscale=1.0)
    return style.described(figure, _facts(records, marks, origin, start))


def _points(axes: Axes, at: np.ndarray, latency: np.ndarray, chosen: np.ndarray, name: str) -> None:
    if not chosen.any():
        return
    x, y = at[chosen], latency[chosen]
    kept = time.pixels(x, np.log(y))
    dense = len(kept) >= 15_000
    size = 1.5 if dense else 3.4 if len(kept) < 4_000 else 2.6
    axes.plot(x[kept], y[kept], "o", markersize=size, markeredgewidth=0, color=style.COLOURS[name], rasterized=True,
              alpha=1.0 if dense else 0.6, zorder=2)  # fmt: skip
    label = f"served by {name}" if name else "colour not known"
    axes.plot([], [], "o", markersize=5, markeredgewidth=0, color=style.COLOURS[name], label=f"{label}: {len(x):,}")


def _failures(axes: Axes, at: np.ndarray, latency: np.ndarray) -> None:
    kept = time.pixels(at, np.log(latency), 400, 120) if len(at) else np.arange(0)
    axes.plot(at[kept], latency[kept], "x", markersize=6, markeredgewidth=1.6, color=style.FAILURE, zorder=5,
              rasterized=len(kept) > 2_000, label=f"failed: {len(at):,}")  # fmt: skip


def _rates(axes: Axes, at: np.ndarray, colour: np.ndarray, failed: np.ndarray, end: float) -> None:
    """Draw the requests per second of each colour, stacked, in a hundred steps or fewer."""
    step = max(0.1, round(end / 100, 1))
    edges = np.arange(0, end + step, step)
    below = np.zeros(len(edges) - 1)
    parts = [(style.COLOURS[name], ~failed & (colour == name)) for name in SHOWN] + [(style.FAILURE, failed)]
    for shade, chosen in parts:
        height = np.histogram(at[chosen], edges)[0] / step
        axes.stairs(below + height, edges, baseline=below, fill=True, color=shade, alpha=0.8, linewidth=0)
        below = below + height
    axes.set_ylabel("requests/s")
    axes.yaxis.set_major_formatter(style.plain)
    axes.set_ylim(0)


def _facts(records: pd.DataFrame, marks: pd.DataFrame | None, origin: int, start: frames.Start) -> str:
    failed = int(frames.failed(records).sum())
    served = records.loc[~frames.failed(records), "colour"].value_counts()
    by = ", ".join(f"{served[name]:,} by {name}" for name in ("blue", "green") if name in served)
    row = analysis.latency(records, by=(), start=start, percentiles=("p50", "p99")).iloc[0]
    seconds = (int(records["intended_ns"].max()) - origin) / 1e9
    text = (
        f"Latency of {len(records):,} requests over {number(seconds)} s, on a log scale. Served: {by or 'none'}; "
        f"failed: {failed:,}. p50 {number(row['p50_ms'])} ms, p99 {number(row['p99_ms'])} ms."
    )
    return text + time.in_words(marks, origin, seconds)
