"""What attempts to one model, at one origin, with one credential have in common: breaker, permits, retries, cool-down.

Nothing of it is shared with other models or other credentials: a caller's broken model, or a key without quota, says
nothing about those of another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from tailrace.client.limiters.breaker import CircuitBreaker
from tailrace.client.limiters.budget import RetryBudget
from tailrace.client.limiters.concurrency import Permits
from tailrace.client.policy import Limits, Retry
from tailrace.client.request.parsed import ParsedRequest

MOST: Final = 1024
"""Models are named by callers, so their number has a bound."""
_NAME_LENGTH: Final = 128


class Destination:
    """The state of one (origin, credential, model)."""

    __slots__ = ("breaker", "cause", "permits", "ready_at", "retries", "share", "strikes", "used_at")

    def __init__(
        self, breaker: CircuitBreaker | None, permits: Permits | None, now: float, retries: RetryBudget | None = None
    ) -> None:
        self.breaker = breaker
        self.permits = permits
        """Of the adaptive limit; None when the limit is fixed or there is none."""
        self.retries = retries
        """What pays for the retries of calls that ask here first; None when they have no limit."""
        self.used_at = now
        """When the last attempt began."""
        self.ready_at = now
        """When its cool-down ends."""
        self.cause = ""
        """Why it cools down."""
        self.strikes = 0
        """Failures since the last success."""
        self.share = 0.0
        """What is owed to it in the turn of the targets (smooth weighted round robin)."""

    @property
    def in_flight(self) -> int:
        """The permits of the adaptive limit that are held now."""
        return self.permits.in_flight if self.permits is not None else 0

    @property
    def admits(self) -> bool:
        """Whether the circuit lets an attempt through now."""
        return self.breaker is None or self.breaker.wait_s() <= 0

    def cools(self, now: float) -> str:
        """Return why it cools down; "" when it does not."""
        return self.cause if self.ready_at > now else ""

    def wait_s(self, now: float) -> float:
        """Return the seconds until an attempt may be made; 0.0 when it may be made now."""
        cools_s = self.ready_at - now
        opens_s = self.breaker.wait_s() if self.breaker is not None else 0.0
        return max(cools_s, opens_s, 0.0)


class Destinations:
    """At most `MOST` destinations; of more, the quarter is forgotten that was not used for longest."""

    def __init__(self, limits: Limits, now: Callable[[], float], retry: Retry | None = None) -> None:
        self._limits = limits
        self._retry = retry
        self._now = now
        self._known: dict[tuple[str, int, str], Destination] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[Destination]:
        """Return every destination that is known now."""
        return list(self._known.values())

    def of(self, current: ParsedRequest) -> Destination:
        """Return the destination of a request."""
        envelope = current.envelope
        key = envelope.origin, envelope.credential, current.model[:_NAME_LENGTH] or envelope.operation
        return self._known.get(key) or self._new(key)

    def _new(self, key: tuple[str, int, str]) -> Destination:
        limits, retry, now = self._limits, self._retry, self._now()
        breaker = None if limits.breaker is None else CircuitBreaker(limits.breaker, self._now)
        permits = Permits(None) if limits.concurrency == "adaptive" else None
        retries = None if retry is None or retry.budget is None else RetryBudget(retry.budget, retry.budget_burst)
        with self._lock:
            if len(self._known) >= MOST and key not in self._known:
                self._forget(now)
            return self._known.setdefault(key, Destination(breaker, permits, now, retries))

    def _forget(self, now: float) -> None:
        """Forget a quarter: first those that hold nobody back, and of these the ones that were idle longest."""
        order = {key: (one.wait_s(now) > 0 or one.in_flight > 0, one.used_at) for key, one in self._known.items()}
        for key in sorted(order, key=order.__getitem__)[: MOST // 4]:
            del self._known[key]
