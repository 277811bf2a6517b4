"""How much the service takes on at once. The descriptors of the process decide, unless a setting allows less.

A request that waits for the provider holds two: its caller's connection, and its own to the provider. Connections to
the provider stay open for a moment after their answer; when targets or fallbacks take over, there are twice as many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tailrace.errors import SettingsError

RESERVED: Final = 96
"""Descriptors of the process itself: stores, log, listener, health checks, threads."""
MOST_IN_FLIGHT: Final = 8192
"""The default is never more: each holds its request and its answer in memory."""
MOST_CONNECTIONS: Final = 16_384


@dataclass(frozen=True)
class Capacity:
    """Bounds on what callers can make the service hold."""

    in_flight: int = MOST_IN_FLIGHT
    """Requests whose body is whole; a further one is refused with 503."""
    connections: int = MOST_CONNECTIONS
    """Open connections of callers; beyond it, those that have waited longest for their caller are closed."""

    @property
    def backlog(self) -> int:
        """Connections that the kernel keeps until they are accepted, which may be all at once."""
        return min(2048, max(8, self.connections // 4))


MOST: Final = Capacity()


def derived(descriptors: int, asked: int | None = None) -> Capacity:
    """Return what `descriptors` allow, with `asked` requests in flight; raises SettingsError when that is too many."""
    free = descriptors - RESERVED
    in_flight = min(MOST_IN_FLIGHT, free // 4) if asked is None else asked
    connections = min(max(MOST_CONNECTIONS, 2 * in_flight), free - 2 * in_flight)
    if in_flight < 1 or connections < in_flight:
        raise SettingsError(
            f"TAILRACE_MAX_IN_FLIGHT: {max(in_flight, 1)} requests in flight need {3 * max(in_flight, 1) + RESERVED} "
            f"open files, and the limit is {descriptors}; raise it (ulimit -n), or allow fewer requests"
        )
    return Capacity(in_flight, connections)
