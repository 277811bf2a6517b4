"""What is said of a store that fails: which one, how, and what becomes of the calls. Once a minute, not with each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tailrace.client.stores import Store

QUIET_S: Final = 60.0

log = logging.getLogger(__name__)


class Excuses:
    """Reports the failures of `store`, each kind of them once in `QUIET_S`."""

    def __init__(self, store: Store | None, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self._said_at: dict[str, float] = {}

    def say(self, what: str, error: Exception) -> None:
        """Report that the store could not be `what` ("read", "written", …)."""
        now = self._now()
        if now - self._said_at.get(what, float("-inf")) < QUIET_S:
            return
        self._said_at[what] = now
        log.warning(
            "the cache %r could not be %s (%s: %s); the call goes on without it, and so will others; "
            "see that its place exists, answers and may be written (said once in %.0f s)",
            self._store, what, type(error).__name__, error, QUIET_S,
        )  # fmt: skip
