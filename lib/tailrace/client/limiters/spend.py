"""A spend limit that holds under concurrency: a call reserves its highest possible cost, and settles its real one."""

from __future__ import annotations

import threading
from collections import defaultdict

from tailrace.client.policy import Spend


class SpendLimiter:
    """Counts what is spent and what is reserved, for all calls or for each tenant."""

    def __init__(self, spend: Spend) -> None:
        self._max_usd = spend.max_usd
        self._per_tenant = spend.per_tenant
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._taken: defaultdict[str, float] = defaultdict(float)  # spent or reserved
        self._lock = threading.RLock()  # the garbage collector settles an abandoned stream at any moment

    def spent_usd(self, tenant: str = "") -> float:
        return self._spent[tenant if self._per_tenant else ""]

    def reserved_usd(self, tenant: str = "") -> float:
        owner = tenant if self._per_tenant else ""
        return self._taken[owner] - self._spent[owner]

    def reserve(self, tenant: str, most_usd: float) -> float | None:
        """Reserve `most_usd` and return None, or return the smaller amount that is left."""
        owner = tenant if self._per_tenant else ""
        with self._lock:
            left = self._max_usd - self._taken[owner]
            if most_usd > left + 1e-12:
                return left
            self._taken[owner] += most_usd
            return None

    def settle(self, tenant: str, reserved_usd: float, cost_usd: float | None) -> None:
        """Free the reservation and count the cost; an unknown cost counts as the whole reservation."""
        owner = tenant if self._per_tenant else ""
        counted = reserved_usd if cost_usd is None else cost_usd
        with self._lock:
            self._taken[owner] += counted - reserved_usd
            self._spent[owner] += counted
