"""The measurement of one rate: its records, held against the objectives.

Each failure counts as +∞. The rules are those of the tables and verdicts (`measures`, `percentiles`); there is no
interval, because a search compares rates by what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tailrace import measures, percentiles
from tailrace.load import columns, gaps
from tailrace.load.summary import Summary
from tailrace.objectives import Objectives
from tailrace.records import ERROR


@dataclass(frozen=True)
class Point:
    """The measurement of one rate."""

    rate_rps: float
    goodput_rps: float
    """Requests that succeeded within every limit, per second: those of goodput, else the widest of each measure."""
    error_rate: float
    latencies_ms: Mapping[str, float]
    """Of each percentile in the objectives, by its name on the command line ("p99", "ttft_p95"); +∞ where failures
    reach it."""
    valid: bool
    meets: bool
    reason: str
    """Which objective was not met, or why the measurement is not valid; "" otherwise."""
    good_share: float = math.nan
    """Of the requests that the limits are for; NaN without such requests."""


class _Figure(NamedTuple):
    """A percentile that is limited: its name on the command line, of how many values, and its limit."""

    name: str
    n: int
    needed: int
    value_ms: float
    limit_ms: float


def judge(rate_rps: float, summary: Summary, files: Sequence[Path], objectives: Objectives) -> Point:
    """Return the point of one rate."""
    records = columns.read(files, measures.COLUMNS)
    failed = np.asarray(records["outcome"] == ERROR, dtype=bool)
    error_rate = float(failed.mean()) if len(failed) else math.nan
    limits_ms = objectives.good_ms
    good = measures.good(records, limits_ms, "intended")[measures.eligible(records, limits_ms)]
    share = float(good.mean()) if len(good) else math.nan
    figures = [one for measure in objectives.limits_ms for one in _figures(measure, records, files, objectives)]
    invalid = [*summary.reasons, *_too_few(figures, len(good), objectives)]
    beyond = [figure for figure in figures if not figure.value_ms <= figure.limit_ms]
    reasons = [f"{figure.name} {figure.value_ms:.1f} ms is beyond {figure.limit_ms:g} ms" for figure in beyond]
    if objectives.error_rate is not None and not error_rate <= objectives.error_rate:
        reasons.append(f"error rate {error_rate:.2%} is beyond {objectives.error_rate:.2%}")
    if objectives.goodput and not share >= objectives.goodput.share:
        reasons.append(f"{share:.2%} of requests are good, less than {objectives.goodput.share:.2%}")
    return Point(
        rate_rps=rate_rps,
        goodput_rps=float(good.sum()) / summary.duration_s,
        error_rate=error_rate,
        latencies_ms={figure.name: figure.value_ms for figure in figures},
        valid=not invalid,
        meets=not reasons,
        reason="; ".join(invalid or reasons),
        good_share=share,
    )


def _figures(measure: str, records: measures.Columns, files: Sequence[Path], objectives: Objectives) -> list[_Figure]:
    limits = objectives.limits_ms[measure]
    n, values = _gaps(files, list(limits)) if measure == "itl" else _values(measure, records, list(limits))
    prefix = "" if measure == "latency" else f"{measure}_"
    return [
        _Figure(f"{prefix}{name}", n, percentiles.needs(name), value, limit_ms)
        for (name, limit_ms), value in zip(limits.items(), values, strict=True)
    ]


def _values(measure: str, records: measures.Columns, names: Sequence[str]) -> tuple[int, list[float]]:
    """Return how many requests have the measure, or ought to and failed; and the percentiles of both, in ms."""
    rule = measures.named(measure)
    failed = np.asarray(records["outcome"] == ERROR, dtype=bool)
    eligible = measures.holds(records, rule.eligible)
    known = eligible & measures.holds(records, rule.known) & ~failed
    ordered = np.sort(measures.values(records, rule, "intended", known)) / rule.per_ms
    failures = int((eligible & failed).sum())
    return len(ordered) + failures, percentiles.with_failures(ordered, failures, names)


def _gaps(files: Sequence[Path], names: Sequence[str]) -> tuple[int, list[float]]:
    pooled = gaps.pooled(files)
    return pooled.n, list(pooled.percentiles_ms(names).values())


def _too_few(figures: Sequence[_Figure], eligible: int, objectives: Objectives) -> list[str]:
    """Return which figure has the fewest values for what it needs, in words; empty when all have enough."""
    counts = [(figure.name, figure.n, figure.needed) for figure in figures]
    if objectives.goodput:
        share = objectives.goodput.share
        counts.append(("goodput", eligible, percentiles.needs(percentiles.named(share * 100)) if share < 1 else 1))
    short = [(name, n, needed) for name, n, needed in counts if n < needed]
    if not short:
        return []
    name, n, needed = max(short, key=lambda one: one[2] - one[1])
    instead = "use a longer duration" if n else "use a longer duration, or streams"
    return [f"{n:,} values are too few for {name} (needs {needed:,}): {instead}"]
