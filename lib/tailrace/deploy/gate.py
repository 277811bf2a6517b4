"""The gate: pure decisions, over windows of the edge's counters, whether a colour may keep its traffic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tailrace import percentiles
from tailrace.deploy.edge import ColourCounters
from tailrace.profile import GateLimits

SIGMAS = 3.0
"""How far beyond chance the share of slow requests has to be, in standard deviations."""
LATE_MS = 1000.0
"""How late an answer may appear in the edge's counters on a busy machine: they are merged five times a second."""


@dataclass(frozen=True)
class Window:
    """What one colour did between two readings."""

    requests: int
    errors: int
    latency: tuple[tuple[float, int], ...] = field(default=(), repr=False)
    """Answered requests by upper bound in ms, cumulative."""
    sent: int = 0
    """Requests that were sent to it, answered or not."""

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
        """Return how many answers took longer than `limit_ms`, to the width of a bucket."""
        return self.answered - max((count for bound, count in self.latency if bound <= limit_ms), default=0)


def window(earlier: ColourCounters, later: ColourCounters) -> Window:
    """Return what happened between two readings; when another edge counts by now, what that one has counted."""
    counted = later if later.total < earlier.total else later.since(earlier)
    requests = max(counted.latency[-1][1] if counted.latency else 0, counted.failed, 0)
    return Window(requests, min(requests, counted.failed + counted.broken), counted.latency, counted.total)


def silent(new: Window, baseline: Window | None, seconds: float, limits: GateLimits) -> str:
    """Return a sentence when the new colour left its requests of `seconds` unanswered; empty when it did not.

    This is decided only when the baseline shows that there was time to answer: half of the old colour's answers, with
    everything that the gate allows on top, took less than half of `seconds`. A colour within its limits then answers
    at least a quarter of its requests; fewer than an eighth is a breach.
    """
    if baseline is None or baseline.answered < limits.min_requests or new.sent < limits.min_requests:
        return ""
    usual_ms = baseline.percentile_ms("p50")
    if _allowed_ms(usual_ms, limits) + LATE_MS > seconds * 500 or new.requests >= new.sent / 8:
        return ""
    answered = f"{new.requests} of {new.sent} requests answered in {seconds:.1f} s"
    return f"{answered} (before: half within {usual_ms:.0f} ms)"


def breach(new: Window, baseline: Window | None, limits: GateLimits) -> str:
    """Return how the new colour breaks the limits, with the numbers; empty when it keeps them.

    What was slow or failing in the `baseline`, the old colour, is not the new colour's fault.
    """
    if new.requests < limits.min_requests:
        return ""
    known = baseline if baseline and baseline.answered >= limits.min_requests else None
    allowed = limits.max_error_rate + (known.error_rate if known else 0.0)
    if new.error_rate > allowed:
        return f"{new.errors} of {new.requests} requests failed ({new.error_rate:.1%}); limit {allowed:.1%}"
    return (_slower(new, known, limits, "p95") or _slower(new, known, limits, "p99")) if known else ""


def _slower(new: Window, baseline: Window, limits: GateLimits, name: str) -> str:
    """Compare one percentile with the limit that the old colour's sets.

    Where a few long streams lie right at the percentile, it jumps between windows although nothing has changed. So the
    share of requests beyond the limit has to exceed what chance would give, too.
    """
    value_ms, baseline_ms = new.percentile_ms(name), baseline.percentile_ms(name)
    limit_ms = _allowed_ms(baseline_ms, limits)
    usual = max(1 - float(percentiles.share(name)), baseline.slower(limit_ms) / baseline.answered)
    by_chance = new.answered * usual + SIGMAS * math.sqrt(new.answered * usual * (1 - usual))
    if not value_ms > limit_ms or new.slower(limit_ms) <= by_chance:
        return ""
    fact = f"{name} {value_ms:.0f} ms over {new.answered} requests"
    return f"{fact}; limit {limit_ms:.0f} ms (before: {baseline_ms:.0f} ms)"


def _allowed_ms(baseline_ms: float, limits: GateLimits) -> float:
    """Return how long the new colour may take where the old one took `baseline_ms`."""
    return max(baseline_ms * limits.max_latency_ratio, baseline_ms + limits.latency_floor_ms)
