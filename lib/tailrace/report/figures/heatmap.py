"""Time × latency as a density, for any number of requests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from tailrace.analysis import frames
from tailrace.numbers import number
from tailrace.report import style
from tailrace.report.figures import time

COLUMNS, ROWS = 160, 56


def heatmap(
    records: pd.DataFrame,
    marks: pd.DataFrame | None = None,
    *,
    limit_ms: float | None = None,
    start: frames.Start = "intended",
) -> Figure:
    """Draw the number of successes in each cell of time and log latency; failures are ticks along the top."""
    failed = frames.failed(records)
    if records.empty or failed.all():
        return style.nothing("Time × latency: no requests were recorded that succeeded.")
    origin = int(records["intended_ns"].min())
    at = time.seconds(records["intended_ns"], origin)
    took = np.maximum(frames.elapsed_us(records, start), 1) / 1_000
    end = float(at.max()) + 1e-9
    low, high = took[~failed].min() * 0.95, max(took[~failed].max() * 1.05, (limit_ms or 0) * 1.6)
    edges = np.linspace(0, end, COLUMNS + 1), np.geomspace(low, high, ROWS + 1)
    counts = np.histogram2d(at[~failed], np.log(took[~failed]), (edges[0], np.log(edges[1])))[0].T
    figure, axes = style.grid(height_in=3.7)
    ax = axes[0, 0]
    shown = np.ma.masked_equal(counts, 0)
    mesh = ax.pcolormesh(*edges, shown, cmap=_shades(), norm=LogNorm(1, max(2, counts.max())), rasterized=True)
    bar = figure.colorbar(mesh, ax=ax, pad=0.01, aspect=28, format=style.plain)
    bar.set_ticks([n * 10**e for e in range(7) for n in (1, 2, 5) if n * 10**e <= max(2, counts.max())], minor=False)
    bar.ax.minorticks_off()
    bar.set_label("requests per cell")
    bar.outline.set_visible(False)
    if failed.any():
        ax.plot(at[failed], np.full(failed.sum(), 0.985), "|", transform=ax.get_xaxis_transform(), markersize=7,
                color=style.FAILURE, rasterized=True)  # fmt: skip
        ax.plot([], [], "|", color=style.FAILURE, markersize=7, label=f"failed: {int(failed.sum()):,}")
        figure.legend(loc="outside lower left")
    style.milliseconds(ax)
    ax.set_ylim(low, high)
    style.limit(ax, limit_ms)
    time.shade([ax], marks, origin, end)
    ax.set_xlim(0, end)
    ax.set_xlabel("time since the first request, s")
    busiest = int(counts.sum(axis=1).argmax())
    where = f"{number(edges[1][busiest])} to {number(edges[1][busiest + 1])} ms"
    return style.described(
        figure,
        f"Where {int((~failed).sum()):,} successes lie in time and latency, over {number(end)} s; most at {where}, "
        f"longest {number(took[~failed].max())} ms; {int(failed.sum()):,} failures.",
    )


def _shades() -> LinearSegmentedColormap:
    """Return shades from slate (few) to orange (many), visible on a white and on a black ground."""
    return LinearSegmentedColormap.from_list("cells", ["#8fa0b6", style.PURPLE, "#e2711d", "#ffb454"])
