"""All open connections of callers: their number, and how long each may keep the service waiting.

Limits of time are checked by a sweep every few seconds, so that no request sets a timer for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final, TypeAlias

from uvicorn.server import ServerState

from tailrace.service.connection import Connection

HEAD_BYTES: Final = 64 << 10
"""Of request line and headers: what the edge lets through by default, and the headers that it adds."""
HEAD_S: Final = 30.0
"""For a head to come whole, from the first byte of it; for the first one, from the start of the connection."""
REST_S: Final = 30.0
"""For the rest of a body whose request is answered already."""
KEEP_ALIVE_S: Final = 3_660
"""For the next request. Longer than Envoy keeps an idle connection (an hour): if the receiver closes first, a request
that was just sent on that connection is lost."""
SWEEP_S: Final = 5.0
_AT_ONCE: Final = 16
"""Beyond the limit a sixteenth of it is closed at once: to look for the oldest ones takes a walk over all."""

Mark: TypeAlias = tuple[str, Any]


@dataclass(frozen=True)
class Times:
    """How long a connection may wait for its caller, in seconds."""

    head_s: float = HEAD_S
    rest_s: float = REST_S
    sweep_s: float = SWEEP_S


class Connections(ServerState):
    """uvicorn's state of a server, with limits on its connections."""

    def __init__(self, most: int, head_bytes: int = HEAD_BYTES, times: Times = Times()) -> None:
        super().__init__()
        self.head_bytes = head_bytes
        self._most = most
        self._times = times
        self._seen: dict[Connection, tuple[Mark, float]] = {}
        """What each connection that waits for its caller waits for, and since when."""
        self._swept_at = -inf
        self.on_made: Callable[[], None] | None = None
        """Called after each connection that is made."""

    def made(self, connection: Connection) -> None:
        """Note a new connection; beyond the limit, close those that have waited longest for their caller."""
        if self.on_made:
            self.on_made()
        if len(self.connections) <= self._most:
            return
        now = connection.loop.time()
        idle = [one for one in self._connections() if one.idle and one is not connection]
        idle.sort(key=lambda one: (self._seen.get(one, (None, now))[1], one.made_at))
        for one in idle[: max(1, self._most // _AT_ONCE)] or [connection]:
            self._close(one)

    def close_late(self, now: float) -> None:
        """Close the connections whose callers have kept the service waiting for too long."""
        if now - self._swept_at < self._times.sweep_s:
            return
        self._swept_at = now
        limits = {
            "first": self._times.head_s,
            "head": self._times.head_s,
            "rest": self._times.rest_s,
            "next": KEEP_ALIVE_S,
        }
        seen: dict[Connection, tuple[Mark, float]] = {}
        for one in self._connections():
            if (mark := _mark(one)) is None:
                continue
            before = self._seen.get(one)
            same = before is not None and before[0][0] == mark[0] and before[0][1] is mark[1]
            since = before[1] if same and before is not None else one.made_at if mark[0] == "first" else now
            if now - since >= limits.get(mark[0], inf):
                self._close(one)
            else:
                seen[one] = mark, since
        self._seen = seen

    def _connections(self) -> list[Connection]:
        return [one for one in self.connections if isinstance(one, Connection)]

    def _close(self, connection: Connection) -> None:
        self.connections.discard(connection)
        connection.transport.abort()


def _mark(one: Connection) -> Mark | None:
    """Return what a connection waits for from its caller; None when the caller waits for the service."""
    if not one.idle:
        return None
    if one.scope is None:
        return "first", None
    cycle = one.cycle
    if cycle is None or cycle.scope is not one.scope:
        return "head", one.scope
    if not cycle.more_body:
        return "next", one.scope
    return ("rest" if cycle.response_complete else "body"), one.scope
