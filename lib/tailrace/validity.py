"""Whether a measurement is valid. Beyond these limits the load generator itself is part of the result:

    achieved / intended below 0.99           it did not keep up
    p99 of the send lag above 10 ms          it was late
    p99 of its event-loop lag above 20 ms    it read answers late
        (or, where the service is slow, above 5 % of its own p50: so much error does not change a verdict)
    CPU above 0.95 of a core                 it was saturated; in an open loop only (a closed one may be)

Why the p50 counts: runbook/decisions/generator-lag-is-held-against-the-median.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Thresholds:
    """The limits of a load generator."""

    achieved: float = 0.99
    send_lag_p99_ms: float = 10.0
    loop_lag_p99_ms: float = 20.0
    of_service_p50: float = 0.05
    cpu_share: float = 0.95


THRESHOLDS: Final = Thresholds()


@dataclass(frozen=True)
class Generator:
    """The figures of a load generator; None where they were not measured."""

    intended_rps: float
    achieved_rps: float
    send_lag_p99_ms: float
    service_p50_ms: float
    """Of the requests that succeeded; NaN when none did."""
    loop_lag_p99_ms: float | None = None
    cpu_share: float | None = None

    @property
    def achieved(self) -> float:
        """The share of the intended rate at which requests were really sent."""
        return self.achieved_rps / self.intended_rps if self.intended_rps else 1.0

    def send_lag_limit_ms(self, thresholds: Thresholds = THRESHOLDS) -> float:
        """Return how late requests may have been sent."""
        return self._limit_ms(thresholds.send_lag_p99_ms, thresholds)

    def invalid_reasons(self, thresholds: Thresholds = THRESHOLDS) -> list[str]:
        """Return why the measurement is not valid, each reason with the fact and the limit."""
        reasons = []
        if self.achieved < thresholds.achieved:
            reasons.append(
                f"the generator achieved {self.achieved_rps:.1f} of {self.intended_rps:.1f} requests/s"
                f" ({self.achieved:.1%}; limit {thresholds.achieved:.0%}): use more shards or a lower rate"
            )
        limit_ms = self.send_lag_limit_ms(thresholds)
        if self.send_lag_p99_ms > limit_ms:
            reasons.append(f"the generator's send lag has p99 {self.send_lag_p99_ms:.1f} ms (limit {limit_ms:g} ms)")
        limit_ms = self._limit_ms(thresholds.loop_lag_p99_ms, thresholds)
        if self.loop_lag_p99_ms is not None and self.loop_lag_p99_ms > limit_ms:
            lag_ms = self.loop_lag_p99_ms
            reasons.append(f"the generator's event-loop lag has p99 {lag_ms:.1f} ms (limit {limit_ms:g} ms)")
        if self.cpu_share is not None and self.cpu_share > thresholds.cpu_share:
            limit = thresholds.cpu_share
            reasons.append(f"a generator process used {self.cpu_share:.0%} of a core (limit {limit:.0%})")
        return reasons

    def _limit_ms(self, least_ms: float, thresholds: Thresholds) -> float:
        return max(least_ms, thresholds.of_service_p50 * self.service_p50_ms)  # `least_ms` where that is NaN
