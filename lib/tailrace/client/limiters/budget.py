"""A retry budget: retries are limited to a share of the calls, so that they do not multiply the load of an outage.

https://sre.google/sre-book/handling-overload/#deciding-to-retry
"""

from __future__ import annotations

import threading


class RetryBudget:
    """`burst` retries are free; each call earns `share` of one more, up to `burst` again."""

    def __init__(self, share: float, burst: int) -> None:
        self._share = share
        self._burst = float(burst)
        self._left = float(burst)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """Note that a call has begun."""
        if self._left < self._burst:  # the budget is nearly always full: skip the lock
            with self._lock:
                self._left = min(self._burst, self._left + self._share)

    def take(self) -> bool:
        """Take one retry from the budget; False when it is empty."""
        with self._lock:
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True
