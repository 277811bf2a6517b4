"""The highest rate that meets the objectives: a sweep upwards, then a search between the last good and the first bad.

The measurement is an argument (`measure`), so that the search can be tested without one. A rate at which the
*generator* failed says nothing about the service: the search ends there, with that reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tailrace.host import files
from tailrace.load.driver import start
from tailrace.load.gaps import beside
from tailrace.load.rate_point import Point, judge
from tailrace.load.traffic import Traffic
from tailrace.objectives import Objectives


@dataclass(frozen=True)
class Capacity:
    """The result of a search: the points, by rate, and the two rates between which the limit lies."""

    points: tuple[Point, ...]
    highest_rps: float
    """NaN when not even the lowest rate met the objectives."""
    lowest_failing_rps: float
    """+∞ when nothing failed: the limit lies beyond what was tried."""
    reason: str


@dataclass(frozen=True)
class Search:
    """The range of a search, and how fine it is."""

    from_rps: float
    to_rps: float
    factor: float = 2.0
    """Between two rates of the sweep."""
    within: float = 0.1
    """The search ends when the first failing rate is at most this share above the best one."""
    most_points: int = 16
    attempts: int = 3
    """Of a rate whose measurement was not valid."""

    def __post_init__(self) -> None:
        if not (0 < self.from_rps <= self.to_rps and self.factor > 1 and self.within > 0):
            raise ValueError(f"expected 0 < from_rps <= to_rps, factor > 1 and within > 0; found {self}")


def find(measure: Callable[[float], Point], search: Search) -> Capacity:
    """Return the highest rate that meets the objectives, to `within`, after at most `most_points` measurements."""
    points: list[Point] = []
    rate, good, bad = search.from_rps, math.nan, math.inf
    while len(points) < search.most_points:
        point = _measured(measure, rate, search.attempts)
        points.append(point)
        if not point.valid:
            return _capacity(points, good, bad, f"at {rate:.4g}/s the measurement is not valid: {point.reason}")
        if point.meets:
            good = rate
        else:
            bad = rate
        if math.isnan(good):
            return _capacity(
                points, good, bad, f"the lowest rate, {rate:.4g}/s, does not meet the objectives: {point.reason}"
            )
        if math.isinf(bad) and good >= search.to_rps:
            return _capacity(points, good, bad, f"every rate up to {good:.4g}/s meets the objectives")
        if bad <= good * (1 + search.within):
            return _capacity(points, good, bad, f"{good:.4g}/s meets the objectives, {bad:.4g}/s does not")
        rate = min(good * search.factor, search.to_rps) if math.isinf(bad) else math.sqrt(good * bad)
    return _capacity(points, good, bad, f"{search.most_points} rates were measured, and no more were allowed")


def _measured(measure: Callable[[float], Point], rate_rps: float, attempts: int) -> Point:
    """Return the first valid measurement of a rate, or the last of all attempts."""
    point = measure(rate_rps)
    for _ in range(attempts - 1):
        if point.valid:
            break
        point = measure(rate_rps)
    return point


def probe(
    traffic_at: Callable[[float], Traffic],
    url: str,
    out: Path,
    objectives: Objectives,
    options: Mapping[str, Any] | None = None,
) -> Callable[[float], Point]:
    """Return a `measure` that runs `traffic_at(rate)`; records go to `out`, each rate as a phase ("rate 200").

    Records of a measurement that is not valid are kept apart, in `out/invalid`.
    """

    def measure(rate_rps: float) -> Point:
        traffic = traffic_at(rate_rps)
        named = replace(traffic, phase=f"{traffic.phase or 'rate'} {rate_rps:g}")
        load_run = start(named, url, out, options=options)
        point = judge(rate_rps, load_run.wait(), load_run.parts, objectives)
        if not point.valid:
            _set_aside([*load_run.parts, *beside(load_run.parts)], out / "invalid")
        return point

    return measure


def _set_aside(records: Sequence[Path], folder: Path) -> None:
    files.make_folder(folder)
    for file in records:
        file.rename(folder / file.name)


def _capacity(points: Sequence[Point], good: float, bad: float, reason: str) -> Capacity:
    return Capacity(tuple(sorted(points, key=lambda point: point.rate_rps)), good, bad, reason)
