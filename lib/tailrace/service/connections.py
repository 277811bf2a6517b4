"""All open connections of callers: their number, and how long each may keep the service waiting.

Limits of time are checked by a sweep every few seconds, so that no request sets a timer for them.
"""

from __future__ import annotations

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
LINGER_S: Final = 1.0
"""For a caller who is refused to read why, and to close."""
YOUNG_S: Final = 1.0
"""A connection is not closed to make room for a new one before it has waited for its caller for so long."""
SWEEP_S: Final = 5.0
_AT_ONCE: Final = 16
"""Beyond the limit a sixteenth of it is closed at once: to look for the oldest ones takes a walk over all."""

Mark: TypeAlias = tuple[str, Any]


@dataclass(frozen=True)
class Times:
    """How long a connection may wait for its caller, in seconds."""

    head_s: float = HEAD_S
    rest_s: float = REST_S
    linger_s: float = LINGER_S
    young_s: float = YOUNG_S
    sweep_s: float = SWEEP_S


class Connections(ServerState):
    """uvicorn's state of a server, with limits on its connections: `most`, and `spare` whose callers get a 503."""

    def __init__(self, most: int, spare: int, head_bytes: int = HEAD_BYTES, times: Times = Times()) -> None:
        super().__init__()
        self.head_bytes = head_bytes
        self.linger_s = times.linger_s
        self._most, self._spare = most, spare
        self._times = times
        self._seen: dict[Connection, tuple[Mark, float]] = {}
        """What each connection that waits for its caller waits for, and since when."""
        self.refused: dict[Connection, None] = {}
        """Those whose callers have got a refusal, and a moment to read it."""
        self._swept_at = self._look_at = -inf

    def made(self, connection: Connection) -> None:
        """Note a new connection; beyond the limit, close those that have waited longest for their caller.

        Where none has waited for long, it is one of many that come at once, and its request is refused.
        """
        if len(self.connections) <= self._most:
            return
        connection.turned_away = not self.make_room(connection.loop.time(), connection)
        if self.room < 0:
            self._close(next(iter(self.refused), connection))

    @property
    def room(self) -> int:
        """How many more connections there may be."""
        return self._most + self._spare - len(self.connections)

    def make_room(self, now: float, new: Connection | None = None) -> bool:
        """Close some of those that have waited long; return whether there were any.

        That takes a walk over all, and so is done no more often than the first of them gets old.
        """
        if now < self._look_at:
            return False
        young_s = self._times.young_s
        waiting = []
        for one, mark in self._waiting():
            if one is not new:
                self._seen[one] = mark, self._since(one, mark, now)
                waiting.append(one)
        waiting.sort(key=lambda one: (self._seen[one][1], one.made_at))
        old = [one for one in waiting[: max(1, self._most // _AT_ONCE)] if now - self._seen[one][1] >= young_s]
        for one in old:
            self._close(one)
        next_since = self._seen[waiting[len(old)]][1] if len(waiting) > len(old) else now
        self._look_at = max(next_since + young_s, now + young_s / 10)
        return bool(old)

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
        for one, mark in self._waiting():
            since = one.made_at if mark[0] == "first" else self._since(one, mark, now)
            if now - since >= limits.get(mark[0], inf):
                self._close(one)
            else:
                seen[one] = mark, since
        self._seen = seen

    def _waiting(self) -> list[tuple[Connection, Mark]]:
        """Return the connections that wait for their caller, and what for."""
        connections = [one for one in self.connections if isinstance(one, Connection)]
        return [(one, mark) for one in connections if (mark := _mark(one)) is not None]

    def _since(self, one: Connection, mark: Mark, now: float) -> float:
        """Return since when it has waited for that, as far as it was seen."""
        before = self._seen.get(one)
        if before is not None and before[0][0] == mark[0] and before[0][1] is mark[1]:
            return before[1]
        return now

    def _close(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.refused.pop(connection, None)
        connection.transport.abort()


def _mark(one: Connection) -> Mark | None:
    """Return what a connection waits for from its caller; None when the caller waits for the service."""
    if not one.idle or one.refused:
        return None
    if one.scope is None:
        return "first", None
    cycle = one.cycle
    if cycle is None or cycle.scope is not one.scope:
        return "head", one.scope
    if not cycle.more_body:
        return "next", one.scope
    return ("rest" if cycle.response_complete else "body"), one.scope
