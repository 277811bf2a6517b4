"""How often a shared store had the answer: counted in memory, and written when the store is written anyway."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from tailrace.client.stores.entry import tenant_digest

OTHERS: Final = "other"
MOST_ROWS: Final = 1_000
"""Rows that a store keeps; a further model or tenant counts as `other`, so that no caller makes it grow."""
_MOST_PENDING: Final = 200
_LONGEST_MODEL: Final = 128


class Row(NamedTuple):
    """Calls for one model, as it is asked for, by one tenant (a digest)."""

    model: str
    tenant: str
    hits: int
    misses: int


class Tally:
    """Hits and misses since they were last written. Safe for threads; a process that is killed loses them."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str], list[int]] = {}
        self._lock = threading.Lock()

    def add(self, model: str, tenant: str, hit: bool) -> None:
        """Count one call."""
        with self._lock:
            self._add((model, tenant), int(hit), int(not hit))

    def __len__(self) -> int:
        return len(self._pending)

    def flush(self, write: Callable[[list[Row]], None]) -> None:
        """Hand what was counted to `write`; when that raises, it is kept for the next time."""
        with self._lock:
            pending, self._pending = self._pending, {}
        if not pending:
            return
        rows = [Row(model[:_LONGEST_MODEL], tenant_digest(tenant), *both) for (model, tenant), both in pending.items()]
        try:
            write(rows)
        except BaseException:
            with self._lock:
                for place, (hits, misses) in pending.items():
                    self._add(place, hits, misses)
            raise

    def _add(self, place: tuple[str, str], hits: int, misses: int) -> None:
        counts = self._pending.get(place)
        if counts is None:
            place = place if len(self._pending) < _MOST_PENDING else (OTHERS, "")
            counts = self._pending.setdefault(place, [0, 0])
        counts[0] += hits
        counts[1] += misses
