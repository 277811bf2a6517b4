"""Rate limits of requests and of tokens per minute."""

from __future__ import annotations

import threading
from collections.abc import Callable


class RateLimiter:
    """A token bucket that holds `per_min` / 6 (ten seconds' worth) and refills evenly.

    Reservations may overdraw it; each then waits for its turn, in order.
    """

    def __init__(self, per_min: float, now: Callable[[], float]) -> None:
        self._per_s = per_min / 60.0
        self._most = max(1.0, per_min / 6.0)
        self._now = now
        self._left = self._most
        self._at = now()
        self._lock = threading.Lock()

    def reserve(self, amount: float) -> float:
        """Take `amount`, and return the seconds to wait before using it."""
        with self._lock:
            now = self._now()
            self._left = min(self._most, self._left + max(0.0, now - self._at) * self._per_s)
            self._at = now
            self._left -= amount
            return max(0.0, -self._left / self._per_s)

    def give_back(self, amount: float) -> None:
        """Give back what was taken and not used; a negative amount takes what was used in excess."""
        with self._lock:
            self._left = min(self._most, self._left + amount)
