"""Calls a figure or table with its frames: a parameter annotated as a DataFrame is loaded by its name.

An option of that name names another stored frame instead. All other parameters are options, as JSON values.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from tailrace.errors import RecordsError

Load = Callable[[str], pd.DataFrame]


def call(kind: str, known: Mapping[str, Callable[..., Any]], name: str, load: Load, options: Mapping[str, Any]) -> Any:
    """Call `known[name]` with its frames and options; raise ValueError for an unknown name or option."""
    if name not in known:
        raise ValueError(f"{kind} {name!r} is not in the catalogue; known: {', '.join(sorted(known))}")
    function = known[name]
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters
    unknown = sorted(options.keys() - parameters.keys())
    if unknown:
        raise ValueError(f"{kind} {name!r} does not know {', '.join(unknown)}; it takes {', '.join(parameters)}")
    frames = {p: _loaded(load, p, options, hints[p]) for p in parameters if _is_frame(hints.get(p))}
    return function(**{**options, **frames})


def _loaded(load: Load, parameter: str, options: Mapping[str, Any], hint: Any) -> pd.DataFrame | None:
    """Load a frame; return None for a missing optional one, unless an option names it."""
    try:
        return load(str(options.get(parameter, parameter)))
    except (RecordsError, KeyError, FileNotFoundError):
        if type(None) in typing.get_args(hint) and parameter not in options:
            return None
        raise


def _is_frame(hint: Any) -> bool:
    return hint is pd.DataFrame or pd.DataFrame in typing.get_args(hint)
