"""What goes wrong in the books is counted and logged, and never costs the answer that they are about."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


class Mishaps:
    """Counts the failures of accounting: of hooks, of the look-up of prices, of budgets."""

    def __init__(self) -> None:
        self.count = 0
        self._logged: set[str] = set()

    def add(self, place: str, error: BaseException) -> None:
        """Count a failure; the first one at `place`, which the program names, is logged, by the error's type alone."""
        self.count += 1
        if place not in self._logged:
            self._logged.add(place)
            log.warning("%s failed: %s (logged once; the call goes on)", place, type(error).__name__)
