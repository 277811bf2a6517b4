"""Every figure by name. Its frames are stored and its options are JSON, so each can be drawn again."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.figure import Figure

from tailrace.report import binding, style
from tailrace.report.binding import Load
from tailrace.report.figures import benchmark
from tailrace.report.figures.arrivals import arrivals
from tailrace.report.figures.ccdf import ccdf
from tailrace.report.figures.clients import clients
from tailrace.report.figures.events import events
from tailrace.report.figures.failures import failures
from tailrace.report.figures.heatmap import heatmap
from tailrace.report.figures.history import history
from tailrace.report.figures.probes import probes
from tailrace.report.figures.ramp import ramp
from tailrace.report.figures.ratio import ratio
from tailrace.report.figures.server import server
from tailrace.report.figures.spectrum import spectrum
from tailrace.report.figures.spend import spend
from tailrace.report.figures.streaming import streaming
from tailrace.report.figures.switch import switch
from tailrace.report.figures.windows import windows

FIGURES: Final[Mapping[str, Callable[..., Figure]]] = types.MappingProxyType(
    {
        "arrivals": arrivals,
        "benchmark cells": benchmark.cells,
        "benchmark goodput": benchmark.goodput,
        "benchmark pareto": benchmark.pareto,
        "ccdf": ccdf,
        "clients": clients,
        "events": events,
        "failures": failures,
        "heatmap": heatmap,
        "history": history,
        "probes": probes,
        "ramp": ramp,
        "ratio": ratio,
        "server": server,
        "spectrum": spectrum,
        "spend": spend,
        "streaming": streaming,
        "switch": switch,
        "windows": windows,
    }
)


@dataclass(frozen=True)
class Drawn:
    """A figure and its alternative text."""

    figure: Figure
    alt: str

    def svg(self, key: str = "figure") -> str:
        """Return the figure as one inline `<svg>` element; `key` has to be unique on its page."""
        return style.svg(self.figure, key)

    def png(self, dpi: int = 160) -> bytes:
        """Return the figure as a PNG on a light ground, which Lab shows even in a notebook that it did not run."""
        return style.png(self.figure, dpi)


def draw(name: str, load: Load, /, **options: Any) -> Drawn:
    """Draw the figure `name` from the frames that `load` returns; raise ValueError for an unknown name or option."""
    with style.language():
        figure = binding.call("figure", FIGURES, name, load, options)
    return Drawn(figure, str(figure.get_label()))
