"""Warnings about a cache store that fails, each kind at most once a minute."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tailrace.client.stores import Store

INTERVAL_S: Final = 60.0

log = logging.getLogger(__name__)


class StoreWarnings:
    """Logs the failures of `store`, each kind at most once in `INTERVAL_S`."""

    def __init__(self, store: Store | None, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._logged_at: dict[str, float] = {}

    def log(self, failed: str, error: Exception) -> None:
        """Log that the store could not be `failed` ("read", "written", …)."""
        now = self._now()
        if now - self._logged_at.get(failed, float("-inf")) < INTERVAL_S:
            return
        self._logged_at[failed] = now
        log.warning(
            "the cache %r could not be %s (%s: %s); calls go on without it; check that its path or server exists, "
            "answers and is writable (logged at most once in %.0f s)",
            self._store, failed, type(error).__name__, error, INTERVAL_S,
        )  # fmt: skip
