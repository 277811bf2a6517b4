"""Why requests failed: failures by class, how the edge found each slot, and who used the processors, on one clock."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import measures
from tailrace.analysis import frames
from tailrace.host.machine import MACHINE
from tailrace.numbers import number, percent
from tailrace.report import style
from tailrace.report.figures import time

KINDS = 4
SLOW = "slow"
HEALTHY, STARTING, UNHEALTHY = "healthy", "starting", "unhealthy"
PROGRAMS = 4
SHADES = (style.PURPLE, style.ORANGE, style.TEAK, style.SLATE)


def failures(
    records: pd.DataFrame,
    machine: pd.DataFrame | None = None,
    edge: pd.DataFrame | None = None,
    marks: pd.DataFrame | None = None,
    *,
    limits_ms: Mapping[str, float] | None = None,
    width_s: float = 0.2,
) -> Figure:
    """Draw failures per second by class; below, whether the edge found each slot healthy, and the processors in use.

    With `limits_ms`, by measure, the successes beyond one of them are drawn as a class of their own.
    """
    if records.empty:
        return style.nothing("Failures: no requests were recorded.")
    origin = int(records["intended_ns"].min())
    at = time.seconds(records["intended_ns"], origin)
    end = max(float(at.max()), width_s)
    edges = np.arange(0, end + width_s, max(width_s, end / 400))
    figure, axes = style.grid(3, 1, height_in=5.0, sharex=True, height_ratios=(3, 1, 2.4))
    top, slots, cores = axes[:, 0]
    counted = _classes(top, records, at, edges, limits_ms or {})
    healthy = _slots(slots, _within(edge, origin, end), origin)
    busy = _cores(cores, _within(machine, origin, end), origin)
    time.shade([top, slots, cores], marks, origin, end)
    cores.set_xlim(0, end)
    cores.set_xlabel("time since the first request, s")
    if any(one.get_legend_handles_labels()[0] for one in figure.axes):
        figure.legend(loc="outside lower left", ncols=4)
    named = ", ".join(f"{n:,} {name}" for name, n in counted.items()) or "none"
    facts = f"Failures of {len(records):,} requests over {number(end)} s: {named}. {healthy} {busy}"
    return style.described(figure, facts + time.in_words(marks, origin, end))


def _within(rows: pd.DataFrame | None, origin: int, end_s: float) -> pd.DataFrame:
    """Return the samples of the drawn time, with `t_s`."""
    if rows is None or rows.empty:
        return pd.DataFrame()
    t_s = time.seconds(rows["t_ns"], origin)
    return rows.assign(t_s=t_s)[(t_s >= 0) & (t_s <= end_s + 1)]


def _classes(
    axes: Axes, records: pd.DataFrame, at: np.ndarray, edges: np.ndarray, limits_ms: Mapping[str, float]
) -> dict[str, int]:
    """Stack the requests of each class of failures, and the slow ones; return how many there are of each."""
    failed = frames.failed(records)
    kinds = np.where(failed, records["error_type"].replace("", "unknown"), "").astype(object)
    slow = ~failed & measures.eligible(records, limits_ms) & ~measures.good(records, limits_ms, "intended")
    kinds[slow] = SLOW
    counted = {str(name): int(n) for name, n in pd.Series(kinds[kinds != ""]).value_counts().items()}
    below = np.zeros(len(edges) - 1)
    for place, (name, n) in enumerate(counted.items()):
        height = np.histogram(at[kinds == name], edges)[0] / np.diff(edges)
        shade, alpha = (style.ORANGE, 0.8) if name == SLOW else (style.FAILURE, max(0.25, 1 - 0.22 * place))
        axes.stairs(below + height, edges, baseline=below, fill=True, color=shade, linewidth=0, alpha=alpha,
                    label=f"{name}: {n:,}" if place < KINDS else None)  # fmt: skip
        below = below + height
    axes.set_ylim(0, max(1.0, float(below.max()) * 1.1))
    axes.set_ylabel("requests/s" if limits_ms else "failures/s")
    axes.yaxis.set_major_formatter(style.plain)
    return counted


def _slots(axes: Axes, edge: pd.DataFrame, origin: int) -> str:
    """Draw a row per slot: a bar where the edge found its instance healthy, another where not, none when empty."""
    axes.set_yticks([0, 1], ["blue", "green"])
    axes.set_ylim(1.6, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_ylabel("health")
    if edge.empty:
        axes.text(0.5, 0.5, "the edge was not sampled", transform=axes.transAxes, ha="center", color=style.MUTED)
        return "The edge was not sampled."
    down_s = {}
    for row, colour in enumerate(("blue", "green")):
        stretches = _stretches(edge[edge["colour"] == colour].sort_values("t_s"))
        for state, shade in ((HEALTHY, style.COLOURS[colour]), (STARTING, style.GRID), (UNHEALTHY, style.FAILURE)):
            bars = [(start, stop - start) for start, stop, now in stretches if now == state]
            axes.broken_barh(bars, (row - 0.3, 0.6), color=shade, alpha=0.8, linewidth=0, zorder=3)
        down_s[colour] = sum(stop - start for start, stop, now in stretches if now == UNHEALTHY)
    return " ".join(f"The edge found {colour} unhealthy for {number(s)} s." for colour, s in down_s.items())


def _stretches(rows: pd.DataFrame) -> list[tuple[float, float, str]]:
    """Return start, end and state of each stretch of one slot; an instance that was never healthy yet is starting."""
    stretches: list[tuple[float, float, str]] = []
    was_healthy = False
    for (start, stop), members, healthy in zip(pairwise(rows["t_s"]), rows["members"], rows["healthy"], strict=False):
        was_healthy = bool(members) and (was_healthy or bool(healthy))
        state = "" if not members else HEALTHY if healthy else UNHEALTHY if was_healthy else STARTING
        if stretches and stretches[-1][2] == state:
            stretches[-1] = (stretches[-1][0], stop, state)
        else:
            stretches.append((start, stop, state))
    return stretches


def _cores(axes: Axes, machine: pd.DataFrame, origin: int) -> str:
    """Stack the processors that the busiest programs used below the line of all that were busy."""
    axes.set_ylabel("cores busy")
    axes.yaxis.set_major_formatter(style.plain)
    if machine.empty:
        axes.text(0.5, 0.5, "the machine was not sampled", transform=axes.transAxes, ha="center", color=style.MUTED)
        return "The machine was not sampled."
    whole = machine[machine["subject"] == MACHINE].sort_values("t_s")
    edges = np.concatenate(([max(0.0, whole["t_s"].iloc[0] - whole["span_s"].iloc[0])], whole["t_s"].to_numpy()))
    of = int(whole["of_cores"].max())
    parts = machine[machine["subject"] != MACHINE]
    used = parts.groupby("subject")["cores"].sum().sort_values(ascending=False)
    below = np.zeros(len(whole))
    others = iter(SHADES)
    for name in used.index[:PROGRAMS]:
        own = parts[parts["subject"] == name].groupby("t_ns")["cores"].sum().reindex(whole["t_ns"]).fillna(0).to_numpy()
        colour = str(name).partition("-")[0]
        shade = style.COLOURS[colour] if colour in ("blue", "green") else next(others)
        axes.stairs(below + own, edges, baseline=below, fill=True, color=shade, alpha=0.6, linewidth=0, label=str(name))
        below = below + own
    axes.stairs(whole["cores"], edges, baseline=None, color=style.INK, linewidth=1.1, label="all programs")
    axes.axhline(of, color=style.INK, linewidth=1.0, linestyle=(0, (5, 3)))
    axes.set_ylim(0, of * 1.15)
    share = float((whole["cores"] * whole["span_s"]).sum() / whole["span_s"].sum() / of)
    most = f"; most by {used.index[0]}" if len(used) else ""
    return f"The machine's {of} cores were {percent(share)} busy{most}."
