"""How a figure or table gets its frames: a parameter that is annotated as a DataFrame is loaded by its name.

An option of that name gives another stored frame's name. All other parameters are options, as JSON has them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from tailrace.errors import RecordsError

Load = Callable[[str], pd.DataFrame]


def made(kind: str, known: Mapping[str, Callable[..., Any]], name: str, load: Load, options: Mapping[str, Any]) -> Any:
    """Return what `known[name]` makes of its frames and options; ValueError names what is not known."""
    if name not in known:
        raise ValueError(f"{kind} {name!r} is not in the catalogue; known: {', '.join(sorted(known))}")
    make = known[name]
    hints = typing.get_type_hints(make)
    parameters = inspect.signature(make).parameters
    unknown = sorted(options.keys() - parameters.keys())
    if unknown:
        raise ValueError(f"{kind} {name!r} does not know {', '.join(unknown)}; it takes {', '.join(parameters)}")
    frames = {p: _loaded(load, p, options, hints[p]) for p in parameters if _is_frame(hints.get(p))}
    return make(**{**options, **frames})


def _loaded(load: Load, parameter: str, options: Mapping[str, Any], hint: Any) -> pd.DataFrame | None:
    """Load a frame; one that may be None is None when nobody stored it, unless it was asked for by name."""
    try:
        return load(str(options.get(parameter, parameter)))
    except (RecordsError, KeyError, FileNotFoundError):
        if type(None) in typing.get_args(hint) and parameter not in options:
            return None
        raise


def _is_frame(hint: Any) -> bool:
    return hint is pd.DataFrame or pd.DataFrame in typing.get_args(hint)
