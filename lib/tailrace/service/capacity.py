"""How much the service takes on at once. The descriptors of the process decide, unless a setting allows less.

A request that waits for the provider holds two: its caller's connection, and its own to the provider. Connections to
providers stay open for a moment after their answer, as many as there may be requests in flight: when targets or
fallbacks take over, there are twice as many, however many these are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tailrace.errors import SettingsError

RESERVED: Final = 80
"""Descriptors of the process itself: stores, log, listener, health checks, threads."""
SPARE: Final = 16
"""The fewest connections beyond the limit that are told to come again."""
SHARE: Final = 8
"""An eighth of the connections are such, where there are descriptors for them."""
MOST_IN_FLIGHT: Final = 8192
"""The default is never more: each holds its request and its answer in memory."""
MOST_CONNECTIONS: Final = 16_384


@dataclass(frozen=True)
class Capacity:
    """Bounds on what callers can make the service hold."""

    in_flight: int = MOST_IN_FLIGHT
    """Requests whose body is whole; a further one is refused with 503."""
    connections: int = MOST_CONNECTIONS
    """Open connections of callers; beyond it, those that have waited long for their caller are closed."""
    spare: int = MOST_CONNECTIONS // SHARE
    """Connections beyond these, whose callers get a 503; still further ones are closed without a word."""


MOST: Final = Capacity()


def derived(descriptors: int, asked: int | None = None) -> Capacity:
    """Return what `descriptors` allow, with `asked` requests in flight; raises SettingsError when that is too many."""
    free = descriptors - RESERVED - SPARE
    in_flight = min(MOST_IN_FLIGHT, free // 4) if asked is None else asked
    left = free - 2 * in_flight
    spare = max(0, min(left // SHARE, left - in_flight))
    connections = min(max(MOST_CONNECTIONS, 2 * in_flight), left - spare)
    if in_flight < 1 or connections < in_flight:
        need = 3 * max(in_flight, 1) + RESERVED + SPARE
        raise SettingsError(
            f"TAILRACE_MAX_IN_FLIGHT: {max(in_flight, 1)} requests in flight need {need} open files, and the limit is "
            f"{descriptors}; raise it (ulimit -n), or allow fewer requests"
        )
    return Capacity(in_flight, connections, spare + SPARE)
