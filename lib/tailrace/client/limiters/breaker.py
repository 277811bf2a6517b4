"""A circuit breaker for one destination (a model at an origin, with a credential): closed → open → one probe → closed.

Only signs of a broken provider count: no answer, and 5xx. A 429 says that the provider works and that we ask too
much, which rates and concurrency deal with; it never opens the circuit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from tailrace.client.policy import Breaker


class CircuitBreaker:
    """Admits attempts to one destination, and learns from their outcomes."""

    def __init__(self, breaker: Breaker, now: Callable[[], float]) -> None:
        self._breaker = breaker
        self._now = now
        self._outcomes: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._open_until: float | None = None
        self._probing_until = 0.0
        self._lock = threading.Lock()

    def admit(self) -> float:
        """Return 0.0 when an attempt may be made now, else the seconds until one may."""
        if self._open_until is None:  # the usual case, without the lock
            return 0.0
        with self._lock:
            if self._open_until is None:
                return 0.0
            now = self._now()
            if now < self._open_until:
                return self._open_until - now
            if now < self._probing_until:
                return self._probing_until - now
            self._probing_until = now + self._breaker.open_s  # a probe that never reports does not block the next
            return 0.0

    def wait_s(self) -> float:
        """Return what `admit` would return, and admit nothing."""
        open_until = self._open_until
        return 0.0 if open_until is None else max(0.0, max(open_until, self._probing_until) - self._now())

    def report(self, failed: bool | None) -> None:
        """Note whether an attempt failed; None when its outcome says nothing about the provider's health."""
        with self._lock:
            now = self._now()
            if self._open_until is not None:
                self._after_probe(failed, now)
                return
            if failed is None:
                return
            self._outcomes.append((now, failed))
            self._failures += failed
            while self._outcomes[0][0] < now - self._breaker.window_s:
                self._failures -= self._outcomes.popleft()[1]
            # By a failure only: old ones must not open it when new successes make up the number of calls.
            if failed and self._too_many():
                self._open(now)

    def withdraw(self) -> None:
        """Note that an attempt was stopped without an outcome: if it was the probe, another may be made now."""
        with self._lock:
            self._probing_until = 0.0

    def _too_many(self) -> bool:
        calls = len(self._outcomes)
        return calls >= self._breaker.min_calls and self._failures >= self._breaker.failure_rate * calls

    def _after_probe(self, failed: bool | None, now: float) -> None:
        if self._open_until is None or now < self._open_until:
            return  # an attempt from before it opened
        if failed:
            self._open(now)
        else:  # a 429, too: the provider answers
            self._open_until = None
            self._probing_until = 0.0

    def _open(self, now: float) -> None:
        self._open_until = now + self._breaker.open_s
        self._probing_until = 0.0
        self._outcomes.clear()
        self._failures = 0
