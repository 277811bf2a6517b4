"""Every figure by name: drawn from stored frames and JSON options, so that each can be drawn again."""

from __future__ import annotations

import html
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from matplotlib.figure import Figure

from tailrace.report import binding, style
from tailrace.report.binding import Load
from tailrace.report.figures.clients import clients
from tailrace.report.figures.history import history
from tailrace.report.figures.probes import probes
from tailrace.report.figures.ramp import ramp
from tailrace.report.figures.spectrum import spectrum
from tailrace.report.figures.switch import switch
from tailrace.report.figures.windows import windows

FIGURES: Final[Mapping[str, Callable[..., Figure]]] = types.MappingProxyType(
    {
        "clients": clients,
        "history": history,
        "probes": probes,
        "ramp": ramp,
        "spectrum": spectrum,
        "switch": switch,
        "windows": windows,
    }
)


@dataclass(frozen=True)
class Drawn:
    """A figure and the facts that it shows, in words."""

    figure: Figure
    alt: str

    def svg(self, key: str = "figure") -> str:
        """Return it as one inline `<svg>` element; `key` has to be unique on its page."""
        return style.svg(self.figure, key)

    def html(self, caption: str = "", key: str = "figure") -> str:
        """Return it as a `<figure>` that stands alone, on a light ground: for a notebook."""
        below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        ground = f"background:#fff;color:{style.INK};margin:0;padding:8px;max-width:920px"
        return f'<figure style="{ground}">{self.svg(key)}{below}</figure>'

    def _repr_html_(self) -> str:
        return self.html()


def draw(name: str, load: Load, /, **options: Any) -> Drawn:
    """Return the figure `name` drawn from the frames that `load` gives; ValueError names what is not known."""
    with style.language():
        figure = binding.made("figure", FIGURES, name, load, options)
    return Drawn(figure, str(figure.get_label()))
