"""Shared by figures over time: the clock, the marks of states, faults and actions, and thinning points to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from tailrace.numbers import number
from tailrace.report import style

CHARACTER: Final = 0.0092
"""Width of a character of a mark's label, as a share of the width of the axes."""
CLOSE: Final = 0.012
"""States closer than this share of the drawn time get one label."""
DECISIVE: Final = ("switched", "rolled back", "rolling back", "drained", "done", "ready", "retired", "baked", "locked")
KINDS: Final = {"state": style.INK, "fault": style.FAILURE, "action": style.MUTED}


def seconds(t_ns: Any, origin_ns: int) -> npt.NDArray[np.float64]:
    """Return times in seconds since `origin_ns`."""
    since: npt.NDArray[np.float64] = (np.asarray(t_ns, dtype=np.int64) - origin_ns) / 1e9
    return since


def lengths(edges: npt.NDArray[np.float64], end_s: float) -> npt.NDArray[np.float64]:
    """Return the length of each window; the last one ends with the requests, not at its edge."""
    whole = np.diff(edges)
    cut: npt.NDArray[np.float64] = np.clip(end_s - edges[:-1], 0.2 * whole, whole)
    return cut


def shade(axes: Sequence[Axes], marks: pd.DataFrame | None, origin_ns: int, end_s: float) -> int:
    """Shade every other phase between states, label the marks above `axes[0]`, and return the rows of labels.

    `marks` has t_ns, label and kind (state, fault, action), and optionally until_ns for marks that last. Marks outside
    the drawn time are left out.
    """
    if marks is None or marks.empty:
        return 0
    drawn = marks.assign(t_s=seconds(marks["t_ns"], origin_ns)).sort_values("t_s", kind="stable")
    drawn = drawn[drawn["t_s"] <= end_s]
    begun = drawn["t_s"].between(-CLOSE * end_s, 0)  # together with the first request
    drawn["t_s"] = drawn["t_s"].mask(begun, 0.0)
    states = drawn[drawn["kind"] == "state"]["t_s"].clip(lower=0).tolist()
    for start, stop in list(zip(states, [*states[1:], end_s], strict=False))[::2]:
        for one in axes:
            one.axvspan(start, stop, color=style.BAND, linewidth=0, zorder=0)
    drawn = drawn[drawn["t_s"] >= 0]
    _stretches(axes, drawn, origin_ns)
    for row in drawn.itertuples():
        for one in axes:
            one.axvline(row.t_s, color=KINDS.get(row.kind, style.MUTED), linewidth=0.7, alpha=0.55, zorder=1)
    return _name(axes[0], drawn, end_s)


def _stretches(axes: Sequence[Axes], drawn: pd.DataFrame, origin_ns: int) -> None:
    """Tint the time of the marks, other than states, that last: until_ns is after t_ns."""
    if "until_ns" not in drawn:
        return
    lasting = drawn[(drawn["until_ns"] > drawn["t_ns"]) & (drawn["kind"] != "state")]
    ends = seconds(lasting["until_ns"], origin_ns)
    for start, stop, kind in zip(lasting["t_s"], ends, lasting["kind"], strict=True):
        for one in axes:
            one.axvspan(start, stop, color=KINDS.get(kind, style.MUTED), alpha=0.09, linewidth=0, zorder=0)


def _name(axes: Axes, drawn: pd.DataFrame, end_s: float) -> int:
    """Write the labels above the axes, in as many rows as keep them apart, and return that number."""
    ends: list[float] = []
    for t_s, label, kind in named(drawn, end_s):
        at = t_s / end_s
        width = CHARACTER * (len(label) + 1)
        left = min(at, 1 - width)
        place = next((i for i, end in enumerate(ends) if end <= left), len(ends))
        ends[place : place + 1] = [left + width]
        colour = KINDS.get(kind, style.MUTED)
        weight = "bold" if any(word in label for word in DECISIVE[:2]) else "normal"
        axes.annotate(label, (left, 1), xycoords="axes fraction", xytext=(1, 3 + 11 * place), fontweight=weight,
                      textcoords="offset points", fontsize=8, color=colour, va="bottom")  # fmt: skip
        if place:
            axes.annotate("", (at, 1), xytext=(0, 3 + 11 * place), xycoords=("axes fraction", "axes fraction"),
                          textcoords="offset points", arrowprops=LEADER | {"color": colour})  # fmt: skip
    return len(ends)


def named(drawn: pd.DataFrame, end_s: float) -> list[tuple[float, str, str]]:
    """Return t_s, text and kind of each label. States too close for labels of their own share one.

    Of more than two such states, only the most decisive are named.
    """
    groups: list[tuple[float, list[str], str]] = []
    last = -end_s
    for row in drawn.itertuples():
        if groups and row.kind == groups[-1][2] == "state" and row.t_s - last < CLOSE * end_s:
            groups[-1][1].append(row.label)
        else:
            groups.append((row.t_s, [row.label], row.kind))
        last = row.t_s
    return [(t_s, " · ".join(most_decisive(labels)), kind) for t_s, labels, kind in groups]


def most_decisive(labels: list[str]) -> list[str]:
    """Return at most two of `labels`, the most decisive, in their order."""
    if len(labels) <= 2:
        return labels
    chosen = sorted(labels, key=lambda label: DECISIVE.index(label) if label in DECISIVE else len(DECISIVE))[:2]
    if "switched" in chosen:
        return ["switched"]
    return [label for label in labels if label in chosen]


def in_words(marks: pd.DataFrame | None, origin_ns: int, end_s: float) -> str:
    """Return the marks within the drawn time as a sentence for the alternative text."""
    if marks is None or marks.empty:
        return ""
    at = marks.assign(t_s=seconds(marks["t_ns"], origin_ns)).sort_values("t_s", kind="stable")
    at = at[(at["t_s"] >= 0) & (at["t_s"] <= end_s)]
    words = [f"{row.label} at {number(row.t_s)} s" for row in at.itertuples()]
    return f" Marks: {', '.join(words[:14])}." if words else ""


LEADER: Final[dict[str, Any]] = {"arrowstyle": "-", "linewidth": 0.6, "alpha": 0.45, "shrinkA": 0, "shrinkB": 0}


def pixels(x: npt.NDArray[Any], y: npt.NDArray[Any], columns: int = 640, rows: int = 200) -> npt.NDArray[np.intp]:
    """Return the indices of one point per pixel; any others would be drawn over these."""
    if len(x) <= 20_000:
        return np.arange(len(x))
    cell = _scaled(x, columns) * rows + _scaled(y, rows)
    first: npt.NDArray[np.intp] = np.unique(cell, return_index=True)[1]
    return first


def _scaled(values: npt.NDArray[Any], cells: int) -> npt.NDArray[np.int64]:
    low, high = values.min(), values.max()
    scaled: npt.NDArray[np.int64] = ((values - low) * ((cells - 1) / ((high - low) or 1))).astype(np.int64)
    return scaled
