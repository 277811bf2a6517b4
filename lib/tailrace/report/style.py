"""The visual style of all figures: colours, sizes, axes, and the conversion to SVG.

Figures are drawn in the light colours. In the SVG, each colour becomes a CSS variable with that colour as its
fallback, so the same SVG follows the page into the dark scheme and still stands alone.

Blue and green mean the two colours of the deployment and nothing else; vermilion means failure and nothing else.
The hues are from Okabe & Ito, Color Universal Design (2008), darkened to a contrast of 4.5:1.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from tailrace.numbers import number

INK: Final = "#1c2127"
MUTED: Final = "#5c6670"
GRID: Final = "#dfe3e8"
BAND: Final = "#f1f3f6"
BLUE: Final = "#0a6fb3"
GREEN: Final = "#00805d"
FAILURE: Final = "#c2410c"
SLATE: Final = "#64748b"
ORANGE: Final = "#a86400"
PURPLE: Final = "#9a4a8c"
TEAK: Final = "#7a5c3e"

COLOURS: Final[Mapping[str, str]] = {"blue": BLUE, "green": GREEN, "": MUTED}
SERIES: Final = (INK, ORANGE, PURPLE, SLATE, TEAK)
"""For series that are neither a deployment's colour nor failures, in this order."""
PERCENTILE: Final[Mapping[str, str]] = {"p50": SLATE, "p90": TEAK, "p95": ORANGE, "p99": PURPLE, "p99.9": INK}

DARK: Final[Mapping[str, str]] = {
    INK: "#e8ebef", MUTED: "#9ba6b2", GRID: "#2d353f", BAND: "#1c2229", BLUE: "#5eb1ef", GREEN: "#3ecf9f",
    FAILURE: "#ff8a5b", SLATE: "#93a3b8", ORANGE: "#f2b04a", PURPLE: "#d897cd", TEAK: "#c9a67d",
}  # fmt: skip
NAMES: Final[Mapping[str, str]] = {
    INK: "ink", MUTED: "muted", GRID: "grid", BAND: "band", BLUE: "blue", GREEN: "green", FAILURE: "failure",
    SLATE: "slate", ORANGE: "orange", PURPLE: "purple", TEAK: "teak",
}  # fmt: skip

WIDTH_IN: Final = 9.4
RASTER_DPI: Final = 160
RC: Final[Any] = {
    "axes.axisbelow": True, "axes.edgecolor": GRID, "axes.facecolor": "none", "axes.grid": True,
    "axes.labelcolor": MUTED, "axes.labelsize": 9, "axes.linewidth": 0.8, "axes.spines.right": False,
    "axes.spines.top": False, "axes.titlecolor": INK, "axes.titlelocation": "left", "axes.titlesize": 9.5,
    "axes.titleweight": "bold", "figure.facecolor": "none", "font.family": "sans-serif", "font.size": 9,
    "grid.color": GRID, "grid.linewidth": 0.7, "legend.fontsize": 8.5, "legend.frameon": False,
    "legend.handlelength": 1.4, "legend.labelcolor": INK, "lines.linewidth": 1.6, "lines.solid_capstyle": "round",
    "savefig.facecolor": "none", "text.color": INK, "xtick.color": MUTED, "xtick.labelsize": 8.5,
    "xtick.major.size": 0, "xtick.minor.size": 0, "ytick.color": MUTED, "ytick.labelsize": 8.5,
    "ytick.major.size": 0, "ytick.minor.size": 0, "svg.fonttype": "none", "path.simplify_threshold": 0.5,
}  # fmt: skip


def grid(rows: int = 1, columns: int = 1, *, height_in: float = 3.4, **options: Any) -> tuple[Figure, Any]:
    """Return a figure in this style and its axes, as an array of `rows` × `columns`."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained", dpi=RASTER_DPI)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def language() -> AbstractContextManager[None]:
    """Draw in this style within a `with` block; figures outside of it do not change."""
    return mpl.rc_context(RC)


def milliseconds(axes: Axes, *, log: bool = True, label: str = "latency, ms") -> None:
    """Make the y axis one of latency: log by default, with plain numbers."""
    axes.set_ylabel(label)
    if log:
        decades(axes, "y")
    else:
        axes.yaxis.set_major_formatter(plain)


def decades(axes: Axes, side: Literal["x", "y"]) -> None:
    """Make an axis log, with plain numbers; label ticks between decades only where there is room."""
    axis, limits = (axes.xaxis, axes.get_xlim) if side == "x" else (axes.yaxis, axes.get_ylim)
    (axes.set_xscale if side == "x" else axes.set_yscale)("log")
    axis.set_major_formatter(plain)
    axis.set_minor_formatter(lambda value, _: minor(value, limits()[1] / limits()[0]))


def plain(value: float, _position: float = 0) -> str:
    """Write a tick as a plain number: 0.5, 20, 1,000."""
    return number(value)


def minor(value: float, span: float) -> str:
    """Write a tick between two decades, or nothing when an axis that spans the factor `span` has no room for it."""
    digits = "" if span >= 300 else "25" if span >= 8 else "23456789" if span < 3 else "23468"
    return plain(value) if f"{value:.0e}"[0] in digits else ""


def limit(axes: Axes, value: float | None, label: str = "limit", *, vertical: bool = False) -> None:
    """Draw a limit with its label; call it last, because it may extend the axis."""
    if value is None:
        return
    line = axes.axvline if vertical else axes.axhline
    line(value, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=4)
    if vertical:
        axes.annotate(f"{label} {plain(value)} ms", (value, 1), xycoords=axes.get_xaxis_transform(), xytext=(4, -2),
                      textcoords="offset points", va="top", fontsize=8.5)  # fmt: skip
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, value * 1.5))
    axes.annotate(f"{label} {plain(value)} ms", (1, value), xycoords=axes.get_yaxis_transform(), xytext=(-3, 3),
                  textcoords="offset points", ha="right", va="bottom", fontsize=8.5, zorder=6)  # fmt: skip


def described(figure: Figure, text: str) -> Figure:
    """Set the alternative text of `figure`: the facts that it shows, in words."""
    figure.set_label(" ".join(text.split()))
    return figure


def nothing(text: str) -> Figure:
    """Return a figure that only states why there is nothing to draw."""
    figure, axes = grid(height_in=1.0)
    axes[0, 0].set_axis_off()
    axes[0, 0].text(0.5, 0.5, text, ha="center", va="center", color=MUTED, transform=axes[0, 0].transAxes)
    return described(figure, text)


def svg(figure: Figure, key: str) -> str:
    """Return `figure` as one inline `<svg>` element, with its alternative text and without any address.

    `key` prefixes its ids, which have to be unique on a page.
    """
    target = io.StringIO()
    with mpl.rc_context({**RC, "svg.hashsalt": key}):
        # `savefig` would draw the figure twice.
        FigureCanvasSVG(figure).print_svg(target, metadata={"Date": None})  # type: ignore[no-untyped-call]
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text, count=3).replace("xlink:href", "href")
    text = re.sub(r"<!--.*?-->\s*|<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    text = _identified(text, key)
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--tr-font, sans-serif)", text)
    for colour, name in NAMES.items():
        text = text.replace(colour, f"var(--tr-{name}, {colour})")
    head = f'<svg class="tr-figure" role="img" aria-label="{html.escape(str(figure.get_label()))}"'
    text = re.sub(r'^<svg width="[^"]*" height="[^"]*"', head, text)
    return re.sub(r"\n\s*", "\n", text).strip()


def rekeyed(svg: str, key: str, other: str) -> str:
    """Return an SVG made with `key` with the ids that `other` would have given it."""
    return re.sub(rf'(\sid="|url\(#|href="#){re.escape(key)}-', rf"\g<1>{other}-", svg)


def png(figure: Figure, dpi: int) -> bytes:
    """Return `figure` as a PNG image on a white ground."""
    target = io.BytesIO()
    with mpl.rc_context(RC):
        figure.savefig(target, format="png", dpi=dpi, facecolor="white")
    return target.getvalue()


def _identified(text: str, key: str) -> str:
    """Keep only the ids that something refers to, and prefix each with `key`."""
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(r'\s+id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{key}-\1)", text)
    return re.sub(r'href="#([^"]+)"', rf'href="#{key}-\1"', text)


def colours(values: pd.Series, by: str) -> list[str]:
    """Return a colour for each distinct value of the column `by`, in sorted order."""
    distinct = sorted(values.unique())
    if by == "colour":
        return [COLOURS.get(str(value), MUTED) for value in distinct]
    return [SERIES[i % len(SERIES)] for i in range(len(distinct))]


def variables() -> tuple[str, str]:
    """Return the CSS declarations of all colours: the light ones, and the dark ones."""
    light = " ".join(f"--tr-{name}: {colour};" for colour, name in NAMES.items())
    dark = " ".join(f"--tr-{name}: {DARK[colour]};" for colour, name in NAMES.items())
    return light, dark
