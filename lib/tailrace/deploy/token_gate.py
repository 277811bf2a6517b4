"""The gate for tokens: pure decisions, over a service's own histograms, whether a colour keeps the SLO of its streams.

The edge knows when an answer ends, and nothing of the tokens in it. A service that measures time to first token, time
per output token or the gaps between tokens is judged by its own word. The promise of goodput is judged part by part:
there are never more good requests than requests that keep the hardest one of its limits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tailrace import percentiles
from tailrace.deploy.gate import SIGMAS
from tailrace.objectives import Objectives
from tailrace.server_metrics import Histogram, Reading

TOKENS = ("ttft", "tpot", "itl")
"""The measures that the edge cannot see."""


@dataclass(frozen=True)
class TokenLimit:
    """The share of the values of `measure` that has to be within `limit_ms`; `name` is what the profile calls it."""

    name: str
    measure: str
    limit_ms: float
    share: float


def limits(objectives: Objectives) -> tuple[TokenLimit, ...]:
    """Return what a service's own histograms are held to; nothing when the SLO says nothing of tokens."""
    by_percentile = [
        TokenLimit(f"{measure} {name}", measure, limit_ms, float(percentiles.share(name)))
        for measure in TOKENS
        for name, limit_ms in objectives.limits_ms.get(measure, {}).items()
    ]
    goodput = objectives.goodput
    if goodput is None or not any(measure in TOKENS for measure in goodput.limits_ms):
        return tuple(by_percentile)
    good = [TokenLimit(f"goodput {m}", m, limit_ms, goodput.share) for m, limit_ms in goodput.limits_ms.items()]
    return (*by_percentile, *good)


def breach(new: Reading, baseline: Reading | None, limits: Sequence[TokenLimit], min_requests: int) -> str:
    """Return how the new colour breaks a limit, with the numbers; empty when it keeps them, or too little is known.

    What was slow in the `baseline`, the old colour, is not the new colour's fault; nor is what chance alone can do.
    """
    for limit in limits:
        counted = new.times.get(limit.measure, Histogram())
        if counted.count < min_requests:
            continue
        known = baseline.times.get(limit.measure, Histogram()) if baseline else Histogram()
        before = known.slower(limit.limit_ms) / known.count if known.count >= min_requests else 0.0
        usual, slower = max(1 - limit.share, before), counted.slower(limit.limit_ms)
        if slower > counted.count * usual + SIGMAS * math.sqrt(counted.count * usual * (1 - usual)):
            return (
                f"{limit.name} by its own metrics: {slower:,} of {counted.count:,} took more than "
                f"{limit.limit_ms:g} ms ({slower / counted.count:.1%}; limit {usual:.1%})"
            )
    return ""


def judged(whole: Reading, limits: Sequence[TokenLimit], min_requests: int) -> str:
    """Return what was kept, and what could not be judged and why: a limit that nothing was known of is not kept."""
    kept: dict[str, int] = {}
    unknown: dict[str, list[str]] = {}
    for limit in limits:
        counted = whole.times.get(limit.measure)
        if counted is None:
            why = whole.why or f"its metrics have no histogram of {limit.measure}"
            unknown.setdefault(why, []).append(limit.name)
        elif counted.count < min_requests:
            unknown.setdefault(f"{counted.count:,} values, needs {min_requests:,}", []).append(limit.name)
        else:
            kept[limit.name] = counted.count
    facts = [f"{', '.join(kept)} kept by its own metrics (n ≥ {min(kept.values()):,})"] if kept else []
    return "; ".join([*facts, *(f"{', '.join(names)} not judged ({why})" for why, names in unknown.items())])
