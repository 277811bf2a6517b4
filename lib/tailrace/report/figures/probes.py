"""The timeline of the probes (live, ready, edge, cached, fresh) while faults are injected."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace.numbers import number
from tailrace.report import style
from tailrace.report.figures import time

ORDER = ("live", "ready", "edge", "cached", "fresh")
LABELS = {
    "live": "live: the event loop responds",
    "ready": "ready: may take new traffic",
    "edge": "edge: answers through the proxy",
    "cached": "cached: answers from the cache",
    "fresh": "fresh: answers from the provider",
}


def probes(probes: pd.DataFrame, marks: pd.DataFrame | None = None, *, until_s: float | None = None) -> Figure:
    """Draw a row per probe: a bar while it succeeds, another while it fails, nothing before its first answer."""
    if probes.empty:
        return style.nothing("Probes: none were recorded.")
    origin = int(probes["t_ns"].min())
    names = [*(n for n in ORDER if n in set(probes["probe"])), *sorted(set(probes["probe"]) - set(ORDER))]
    ordered = probes.sort_values("t_ns", kind="stable")
    ordered = ordered.assign(t_s=time.seconds(ordered["t_ns"], origin))
    end = until_s or float(ordered["t_s"].max()) * 1.01 + 0.05
    figure, axes = style.grid(height_in=0.9 + 0.5 * len(names))
    ax = axes[0, 0]
    facts = []
    for row, name in enumerate(names):
        stretches = stretches_of(ordered[ordered["probe"] == name], end)
        _bars(ax, row, stretches)
        facts.append(_fact(name, stretches))
    ax.plot([], [], color=style.SLATE, linewidth=7, alpha=0.45, label="succeeds")
    ax.plot([], [], color=style.FAILURE, linewidth=7, label="fails")
    ax.set_yticks(range(len(names)), [LABELS.get(name, name) for name in names])
    ax.set_ylim(len(names) - 0.45, -0.55)
    ax.grid(visible=False, axis="y")
    time.shade([ax], marks, origin, end)
    ax.set_xlim(0, end)
    ax.set_xlabel("time since the first probe, s")
    figure.legend(loc="outside lower right", ncols=2)
    return style.described(figure, "Timeline of probes. " + " ".join(facts))


def stretches_of(rows: pd.DataFrame, end_s: float) -> list[tuple[float, float, bool, str]]:
    """Return start, end, ok and the first fact of each stretch in which a probe did not change."""
    ok = rows["ok"].astype(bool)
    first = rows[ok.ne(ok.shift())]
    starts = [*first["t_s"].tolist(), max(end_s, float(rows["t_s"].max()))]
    facts = zip(pairwise(starts), first["ok"], first["fact"], strict=True)
    return [(start, stop, bool(good), str(fact)) for (start, stop), good, fact in facts]


def _bars(ax: Axes, row: int, stretches: list[tuple[float, float, bool, str]]) -> None:
    for good in (True, False):
        spans = [(start, stop - start) for start, stop, ok, _ in stretches if ok is good]
        colour, alpha = (style.SLATE, 0.45) if good else (style.FAILURE, 1.0)
        ax.broken_barh(spans, (row - 0.27, 0.54), color=colour, alpha=alpha, linewidth=0, zorder=3)


def _fact(name: str, stretches: list[tuple[float, float, bool, str]]) -> str:
    bad = [f"{number(start)}–{number(stop)} s ({fact})" for start, stop, ok, fact in stretches if not ok]
    return f"{name} failed at {', '.join(bad)}." if bad else f"{name} never failed."
