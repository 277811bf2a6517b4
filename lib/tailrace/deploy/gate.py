"""Whether a colour may keep its traffic: pure decisions over windows of the edge's counters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tailrace import percentiles
from tailrace.deploy.edge import ColourCounters
from tailrace.profile import GateLimits

SIGMAS = 3.0
"""How far above chance the share of slow requests has to lie."""
LATE_MS = 1000.0
"""How late an answer may be among the edge's counts, on a busy machine: they are merged five times a second."""


@dataclass(frozen=True)
class Window:
    """What one colour did between two readings."""

    requests: int
    errors: int
    latency: tuple[tuple[float, int], ...] = field(default=(), repr=False)
    """Answered requests by upper bound in ms, cumulative."""
    sent: int = 0
    """Requests that were given to it, answered or not."""

    @property
    def answered(self) -> int:
        return self.latency[-1][1] if self.latency else 0

    @property
    def error_rate(self) -> float:
        """Share of errors; NaN without requests."""
        return self.errors / self.requests if self.requests else math.nan

    def percentile_ms(self, name: str) -> float:
        """Return the upper bound of the bucket that holds the percentile; NaN when nothing was answered."""
        if not self.answered:
            return math.nan
        rank = percentiles.rank(self.answered, name)
        return next((bound for bound, count in self.latency if count >= rank), math.inf)

    def slower(self, limit_ms: float) -> int:
        """Return how many took longer than `limit_ms`, to the width of a bucket."""
        return self.answered - max((count for bound, count in self.latency if bound <= limit_ms), default=0)


def window(earlier: ColourCounters, later: ColourCounters) -> Window:
    """Return what happened between two readings of the same edge.

    A connection that was lost before the answer began has become a 503 and is counted as one; to count losses as
    errors again can only exaggerate, never hide.
    """
    seen = later.since(earlier)
    requests = max(seen.latency[-1][1] if seen.latency else 0, seen.failed, 0)
    return Window(requests, min(requests, seen.failed + seen.broken), seen.latency, seen.total)


def silent(seen: Window, before: Window | None, seconds: float, limits: GateLimits) -> str:
    """Return how `seen`, over `seconds`, has left its requests without an answer; empty when it has not.

    Only where the old colour has shown that there was time enough: half of its answers took less than half of the
    watch, with all that the gate allows, and were counted in it. A quarter is then due from any colour within its
    limits; an eighth is asked.
    """
    if before is None or before.answered < limits.min_requests or seen.sent < limits.min_requests:
        return ""
    usual_ms = before.percentile_ms("p50")
    if _allowed_ms(usual_ms, limits) + LATE_MS > seconds * 500 or seen.requests >= seen.sent / 8:
        return ""
    told = f"{seen.requests} of {seen.sent} requests answered in {seconds:.1f} s"
    return f"{told} (before: half within {usual_ms:.0f} ms)"


def breach(seen: Window, before: Window | None, limits: GateLimits) -> str:
    """Return how `seen` breaks the limits, with the numbers that say so; empty when it holds them.

    `before` is the old colour: what was slow or failing there is not the new colour's fault.
    """
    if seen.requests < limits.min_requests:
        return ""
    known = before if before and before.answered >= limits.min_requests else None
    allowed = limits.max_error_rate + (known.error_rate if known else 0.0)
    if seen.error_rate > allowed:
        return f"{seen.errors} of {seen.requests} requests failed ({seen.error_rate:.1%}); limit {allowed:.1%}"
    return (_slower(seen, known, limits, "p95") or _slower(seen, known, limits, "p99")) if known else ""


def _slower(seen: Window, before: Window, limits: GateLimits, name: str) -> str:
    """Hold one quantile against the limit that the old colour's sets.

    Where a few long streams lie right at the quantile, it jumps between windows without anything having changed. So
    the share of requests beyond the limit has to be more than chance would give, too.
    """
    now, then = seen.percentile_ms(name), before.percentile_ms(name)
    limit = _allowed_ms(then, limits)
    usual = max(1 - float(percentiles.share(name)), before.slower(limit) / before.answered)
    by_chance = seen.answered * usual + SIGMAS * math.sqrt(seen.answered * usual * (1 - usual))
    if not now > limit or seen.slower(limit) <= by_chance:
        return ""
    return f"{name} {now:.0f} ms over {seen.answered} requests; limit {limit:.0f} ms (before: {then:.0f} ms)"


def _allowed_ms(then: float, limits: GateLimits) -> float:
    """Return what the new colour may take where the old one took `then`, both in ms."""
    return max(then * limits.max_latency_ratio, then + limits.latency_floor_ms)
