"""Draws the figures of a page, in several processes at once where forking is safe."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from tailrace.report import catalogue
from tailrace.report.binding import Load
from tailrace.run.record import cores


@dataclass(frozen=True)
class Specification:
    """A figure to draw: its name in the catalogue, its options, and a `key` that no other figure of the page has."""

    load: Load
    name: str
    key: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG or, when it could not be drawn, the error."""

    svg: str = ""
    error: str = ""


def draw(specification: Specification) -> Drawing:
    """Draw one figure; whatever is wrong with it, the others are drawn and the page is written."""
    try:
        figure = catalogue.draw(specification.name, specification.load, **specification.options)
        return Drawing(svg=figure.svg(specification.key))
    except Exception as error:
        return Drawing(error=str(error))


def draw_all(specifications: Sequence[Specification], processes: int | None = None) -> list[Drawing]:
    """Draw the figures in up to `processes` processes (one a core by default), and return them in their order."""
    processes = min(len(specifications), (cores() if _may_fork() else 1) if processes is None else processes)
    if processes < 2:
        return [draw(specification) for specification in specifications]
    first = draw(specifications[0])  # loads fonts and lazy imports once, before the fork, and not in each process
    return [first, *_draw_in_forks(specifications[1:], processes)]


def _draw_in_forks(specifications: Sequence[Specification], processes: int) -> list[Drawing]:
    try:
        with warnings.catch_warnings(), ProcessPoolExecutor(processes, get_context("fork")) as pool:
            # Python 3.12 warns of the threads of numpy and pyarrow; both libraries handle a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            return list(pool.map(draw, specifications))
    except BrokenProcessPool:  # a process was killed, perhaps for its memory: one figure at a time needs less
        return [draw(specification) for specification in specifications]


def _may_fork() -> bool:
    """Whether a forked process is safe: another thread could hold a lock that the child would wait for."""
    return sys.platform == "linux" and threading.active_count() == 1
