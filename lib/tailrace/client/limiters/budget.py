"""A retry budget: retries may be a share of the calls, so that an outage is not multiplied.

https://sre.google/sre-book/handling-overload/#deciding-to-retry
"""

from __future__ import annotations

import threading


class Budget:
    """`burst` retries are free; each call earns `share` of one more, up to `burst` again."""

    def __init__(self, share: float, burst: int) -> None:
        self._share = share
        self._burst = float(burst)
        self._left = float(burst)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A call was begun."""
        if self._left < self._burst:  # full it is nearly always, and stays so
            with self._lock:
                self._left = min(self._burst, self._left + self._share)

    def take(self) -> bool:
        """Take one retry, if there is one."""
        with self._lock:
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True
