"""Requests and tokens per minute, where the user knows what the provider allows."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Rate:
    """A bucket that holds `per_min` / 6 (ten seconds' worth) and fills evenly. It may be overdrawn once, in order."""

    def __init__(self, per_min: float, now: Callable[[], float]) -> None:
        self._per_s = per_min / 60.0
        self._most = max(1.0, per_min / 6.0)
        self._now = now
        self._left = self._most
        self._at = now()
        self._lock = threading.Lock()

    def reserve(self, amount: float) -> float:
        """Take `amount`, and return the seconds to wait before it may be used."""
        with self._lock:
            now = self._now()
            self._left = min(self._most, self._left + max(0.0, now - self._at) * self._per_s)
            self._at = now
            self._left -= amount
            return max(0.0, -self._left / self._per_s)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used; a negative amount takes what was used beyond."""
        with self._lock:
            self._left = min(self._most, self._left + amount)
