"""Whether a colour may keep its traffic: pure decisions over windows of the edge's counters."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tailrace.deploy.edge import ColourCounters
from tailrace.profile import Gate


@dataclass(frozen=True)
class Window:
    """What one colour did between two readings; latencies in ms, NaN when nothing was answered."""

    requests: int
    errors: int
    p95_ms: float
    p99_ms: float

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else math.nan


def window(earlier: ColourCounters, later: ColourCounters) -> Window:
    """Return what happened between two readings of the same edge.

    A connection that was lost before the answer began has become a 503 and is counted as one; to count losses as
    errors again can only exaggerate, never hide.
    """
    seen = later.since(earlier)
    answered = seen.latency[-1][1] if seen.latency else 0
    requests = max(answered, seen.failed, 0)
    return Window(requests, min(requests, seen.failed + seen.broken), _quantile(seen, 0.95), _quantile(seen, 0.99))


def breach(seen: Window, before: Window | None, limits: Gate) -> str:
    """Return how `seen` breaks the limits, with the numbers that say so; empty when it holds them.

    `before` is the old colour ahead of the switch: what was slow or failing then is not the new colour's fault.
    """
    if seen.requests < limits.min_requests:
        return ""
    known = before if before and before.requests >= limits.min_requests else None
    allowed = limits.max_error_rate + (known.error_rate if known else 0.0)
    if seen.error_rate > allowed:
        return f"{seen.errors} of {seen.requests} requests failed ({seen.error_rate:.1%}); limit {allowed:.1%}"
    if known is None:
        return ""
    for name, now, then in (("p95", seen.p95_ms, known.p95_ms), ("p99", seen.p99_ms, known.p99_ms)):
        limit = max(then * limits.max_latency_ratio, then + limits.latency_floor_ms)
        if now > limit and (name == "p95" or seen.requests >= 5 * limits.min_requests):
            return f"{name} {now:.0f} ms over {seen.requests} requests; limit {limit:.0f} ms (before: {then:.0f} ms)"
    return ""


def _quantile(seen: ColourCounters, share: float) -> float:
    """Return the upper bound of the bucket that holds the quantile, in ms."""
    total = seen.latency[-1][1] if seen.latency else 0
    if total <= 0:
        return math.nan
    return next((bound for bound, count in seen.latency if count >= math.ceil(share * total)), math.inf)
