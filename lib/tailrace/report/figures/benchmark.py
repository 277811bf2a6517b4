"""The figures of a benchmark: the Pareto frontier, times over the grid, goodput over the load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from tailrace.bench import answers
from tailrace.numbers import number, percent
from tailrace.report import style

Shapes = list[tuple[str, pd.DataFrame]]
"""Lengths of input and output, as a title, and the rows that have them."""
MOST_SHAPES: Final = 6
"""Lengths of input and output that a figure has room for."""
PANELS: Final = 4
"""Targets beside each other."""
TALLEST_IN: Final = 24
"""Of the rows of a figure, in inches."""
LOAD: Final = {"concurrency": "requests in flight", "rate_rps": "requests/s"}


def pareto(cells: pd.DataFrame) -> Figure:
    """Draw tokens/s per user against tokens/s in all: a line per target, a panel per shape, a ring on the frontier."""
    table = answers.pareto(cells)
    table = table[table["tokens_per_s_user"].notna()]
    if table.empty:
        return style.nothing("Tokens per second: no cell has streams enough for a time per token.")
    shapes = _shapes(table)
    figure, axes = style.grid(1, len(shapes), height_in=3.6)
    for ax, target, colour, line in _lines(axes[0], shapes):
        ax.plot(line["tokens_per_s_user"], line["tokens_per_s"], "-o", color=colour, markersize=4, label=target)
        best = line[line["best"]]
        ax.plot(best["tokens_per_s_user"], best["tokens_per_s"], "o", color=colour, markersize=9, fillstyle="none")
        for one in line.to_dict("records"):
            ax.annotate(f"{one['level']:g}", (one["tokens_per_s_user"], one["tokens_per_s"]), xytext=(5, 4),
                        textcoords="offset points", fontsize=7.5, color=style.MUTED)  # fmt: skip
    _label(figure, axes[0], shapes, "tokens/s per user", "tokens/s in all")
    best = table[table["best"]].sort_values(["input_tokens", "output_tokens", "tokens_per_s"])
    facts = [
        f"{_title(one)}: {one['target']} at {one['level']:g} gives {number(one['tokens_per_s'])} tokens/s in all and "
        f"{number(one['tokens_per_s_user'])} per user"
        for one in best.to_dict("records")
    ]
    return style.described(figure, f"Tokens per second per user and in all; on the frontier: {'; '.join(facts)}.")


def cells(cells: pd.DataFrame, *, figure: str = "ttft_p50_ms", label: str = "TTFT p50, ms") -> Figure:
    """Draw `figure` (a column of the rows) as a heat map: load by shape, a panel per target; each cell says its value.

    What could not be measured is blank.
    """
    table = answers.points(cells)
    values = table[figure].to_numpy(dtype=float)
    if not np.isfinite(values).any():
        return style.nothing(f"{label}: no cell has requests enough.")
    targets = sorted(table["target"].unique())
    levels, shapes = sorted(table["level"].unique()), [title for title, _ in _shapes(table)]
    columns = min(PANELS, len(targets))
    rows = -(-len(targets) // columns)
    row_in = min(0.42, TALLEST_IN / rows / len(levels))
    drawn, axes = style.grid(rows, columns, height_in=rows * (0.9 + row_in * len(levels)), sharey=True)
    norm = LogNorm(max(np.nanmin(values), 1e-3), max(np.nanmax(values), np.nanmin(values) * 1.01))
    for ax, target in zip(axes.flat, targets, strict=False):
        _heat(ax, table[table["target"] == target], figure, (levels, shapes), norm)
        ax.set_title(target)
    for ax in axes.flat[len(targets) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_yticks(range(len(levels)), [f"{level:g}" for level in levels])
        ax.set_ylabel(LOAD.get(str(cells["load"].iloc[0]), "load"))
    facts = [
        f"{one['target']}, {_title(one)}, load {one['level']:g}: {number(one[figure])}"
        for one in table.to_dict("records")
    ]
    return style.described(drawn, f"{label} over the grid. {'; '.join(facts)}.")


def goodput(cells: pd.DataFrame, *, share: float = 0.95) -> Figure:
    """Draw good requests per second over the load; a filled point has the share of good requests that is required."""
    table = answers.points(cells)
    table = table[table["good_share"].notna()]
    if table.empty:
        return style.nothing("Goodput: the plan has no goodput limits.")
    shapes = _shapes(table)
    figure, axes = style.grid(1, len(shapes), height_in=3.2)
    for ax, target, colour, line in _lines(axes[0], shapes):
        ax.plot(line["level"], line["goodput_rps"], "-", color=colour, label=target)
        enough = line["valid"] & (line["good_share"] >= share)
        for chosen, fill in ((enough, "full"), (~enough, "none")):
            ax.plot(line["level"][chosen], line["goodput_rps"][chosen], "o", color=colour, markersize=6, fillstyle=fill)
    _label(figure, axes[0], shapes, LOAD.get(str(cells["load"].iloc[0]), "load"), "good requests/s")
    facts = [
        f"{one['target']}, {_title(one)}, load {one['level']:g}: {number(one['goodput_rps'])}/s, "
        f"{percent(one['good_share'])} good"
        for one in table.to_dict("records")
    ]
    return style.described(figure, f"Good requests per second; {percent(share)} are required. {'; '.join(facts)}.")


def _heat(ax: Axes, part: pd.DataFrame, column: str, grid: tuple[list[Any], list[str]], norm: LogNorm) -> None:
    levels, shapes = grid
    matrix = np.full((len(levels), len(shapes)), np.nan)
    for one in part.to_dict("records"):
        if _title(one) in shapes:
            matrix[levels.index(one["level"]), shapes.index(_title(one))] = one[column]
    shades = LinearSegmentedColormap.from_list("cells", [style.BAND, "#e8b27a", "#e2711d"])
    ax.imshow(np.ma.masked_invalid(matrix), cmap=shades, norm=norm, aspect="auto", origin="lower")
    for (y, x), value in np.ndenumerate(matrix):
        ax.text(x, y, number(value) if np.isfinite(value) else "n/a", ha="center", va="center", fontsize=8.5,
                color="#1c2127")  # fmt: skip
    ax.set_xticks(range(len(shapes)), shapes)
    ax.grid(visible=False)


def _shapes(table: pd.DataFrame) -> Shapes:
    """Return the first shapes of the grid, each with its title and rows."""
    grouped = table.groupby(["input_tokens", "output_tokens"], sort=True)
    return [(_title(part.iloc[0]), part) for _, part in grouped][:MOST_SHAPES]


def _title(one: Any) -> str:
    return f"{one['input_tokens']:,} in, {one['output_tokens']:,} out"


def _lines(axes: Sequence[Axes], shapes: Shapes) -> Iterator[tuple[Axes, str, str, pd.DataFrame]]:
    """Yield the panel, name, colour and rows, by load, of each target in each shape."""
    for ax, (_, part) in zip(axes, shapes, strict=True):
        for place, (target, line) in enumerate(part.groupby("target", sort=True)):
            yield ax, str(target), style.SERIES[place % len(style.SERIES)], line.sort_values("level")


def _label(figure: Figure, axes: Sequence[Axes], shapes: Shapes, x: str, y: str) -> None:
    """Write titles and axes of the panels, and a legend where there are several targets."""
    for ax, (title, _) in zip(axes, shapes, strict=True):
        ax.set_title(title)
        ax.set_xlabel(x)
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel(y)
    handles, labels = axes[0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower left", ncols=4)
