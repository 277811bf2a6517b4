"""A spend limit that holds under concurrency: what a call could cost is reserved before, and settled after."""

from __future__ import annotations

import threading
from collections import defaultdict

from tailrace.client.policy import Spend


class Purse:
    """`spent_usd` and `reserved_usd`, of all or of each tenant."""

    def __init__(self, spend: Spend) -> None:
        self._spend = spend
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._reserved: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.RLock()  # a forgotten stream is settled by the collector, at any moment

    def spent_usd(self, tenant: str = "") -> float:
        return self._spent[self._owner(tenant)]

    def reserve(self, tenant: str, most_usd: float) -> float | None:
        """Reserve `most_usd` and return None, or return what is left, which is less."""
        owner = self._owner(tenant)
        with self._lock:
            left = self._spend.max_usd - self._spent[owner] - self._reserved[owner]
            if most_usd > left + 1e-12:
                return left
            self._reserved[owner] += most_usd
            return None

    def settle(self, tenant: str, reserved_usd: float, cost_usd: float | None) -> None:
        """Free the reservation and count the cost; one that is not known is counted as all that was reserved."""
        owner = self._owner(tenant)
        with self._lock:
            self._reserved[owner] -= reserved_usd
            self._spent[owner] += reserved_usd if cost_usd is None else cost_usd

    def _owner(self, tenant: str) -> str:
        return tenant if self._spend.per_tenant else ""
