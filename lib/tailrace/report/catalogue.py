"""Every figure and table by name: drawn from stored frames and JSON options, so that each can be drawn again.

A parameter of a figure that is annotated as a DataFrame is a frame, loaded by the parameter's name, or by the
name that an option of that name gives. All other parameters are options.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from matplotlib.figure import Figure

from tailrace.errors import RecordsError
from tailrace.report import style, tables
from tailrace.report.figures.clients import clients
from tailrace.report.figures.probes import probes
from tailrace.report.figures.ramp import ramp
from tailrace.report.figures.spectrum import spectrum
from tailrace.report.figures.switch import switch
from tailrace.report.figures.windows import windows

Load = Callable[[str], pd.DataFrame]

FIGURES: Final[Mapping[str, Callable[..., Figure]]] = types.MappingProxyType(
    {
        "clients": clients,
        "probes": probes,
        "ramp": ramp,
        "spectrum": spectrum,
        "switch": switch,
        "windows": windows,
    }
)
TABLES: Final[Mapping[str, Callable[..., pd.DataFrame]]] = types.MappingProxyType(
    {
        "clients": tables.clients,
        "frame": tables.frame,
        "judgements": tables.judgements,
        "percentiles": tables.percentiles,
        "rates": tables.rates,
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

    def _repr_html_(self) -> str:
        return f'<div style="background:#fff;padding:6px;max-width:920px">{self.svg()}</div>'


@dataclass(frozen=True)
class Table:
    """A table with its numbers written out."""

    frame: pd.DataFrame

    @property
    def html(self) -> str:
        return tables.html(self.frame)

    def _repr_html_(self) -> str:
        return self.html


def draw(name: str, load: Load, /, **options: Any) -> Drawn:
    """Return the figure `name` drawn from the frames that `load` gives; ValueError names what is not known."""
    figure = _made("figure", FIGURES, name, load, options)
    return Drawn(figure, str(figure.get_label()))


def tabulate(name: str, load: Load, /, **options: Any) -> Table:
    """Return the table `name` made from the frames that `load` gives; ValueError names what is not known."""
    return Table(_made("table", TABLES, name, load, options))


def _made(kind: str, known: Mapping[str, Callable[..., Any]], name: str, load: Load, options: dict[str, Any]) -> Any:
    if name not in known:
        raise ValueError(f"{kind} {name!r} is not in the catalogue; known: {', '.join(sorted(known))}")
    make = known[name]
    hints = typing.get_type_hints(make)
    frames = {p: _optional(hints[p]) for p in inspect.signature(make).parameters if _is_frame(hints.get(p))}
    unknown = sorted(options.keys() - inspect.signature(make).parameters.keys())
    if unknown:
        raise ValueError(f"{kind} {name!r} does not know {', '.join(unknown)}; it takes {inspect.signature(make)}")
    loaded = {p: _loaded(load, str(options.get(p, p)), optional=o and p not in options) for p, o in frames.items()}
    return make(**{**options, **loaded})


def _loaded(load: Load, name: str, *, optional: bool) -> pd.DataFrame | None:
    try:
        return load(name)
    except (RecordsError, KeyError, FileNotFoundError):
        if optional:
            return None
        raise


def _is_frame(hint: Any) -> bool:
    return hint is pd.DataFrame or pd.DataFrame in typing.get_args(hint)


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)
