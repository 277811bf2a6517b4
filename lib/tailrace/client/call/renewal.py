"""A reservation in a store expires, so that no dead process holds it for ever. That of a call that lives is renewed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from tailrace.client.call.effects import Blocking, Work
from tailrace.client.call.pending import PendingCall
from tailrace.client.limiters.spend import SpendLimiter

_PARTS: Final = 3
"""A reservation is renewed when this part of its time is over, so that one failure of the store loses none."""


class Renewal:
    """Renews the reservation of one call when somebody looks: before an attempt, and before each chunk of a stream.

    `failed` is told of a store that cannot be asked; the call goes on.
    """

    __slots__ = ("_call", "_due_at", "_every_s", "_failed", "_limiter")

    def __init__(self, call: PendingCall, limiter: SpendLimiter, failed: Callable[[Exception], None]) -> None:
        self._call = call
        self._limiter = limiter
        self._failed = failed
        self._every_s = limiter.reservation_s / _PARTS
        self._due_at = call.clock.monotonic() + self._every_s

    def due(self) -> Work[None] | None:
        """Return what renews the reservation, when it is time for that."""
        now = self._call.clock.monotonic()
        if now < self._due_at or self._call.reservation is None:
            return None
        self._due_at = now + self._every_s
        return self._renew()

    def _renew(self) -> Work[None]:
        reservation, limiter = self._call.reservation, self._limiter
        if reservation is None:
            return
        renew = partial(limiter.renew, reservation, life_s(self._call))
        try:
            if limiter.slow:
                yield Blocking(renew)
            else:
                renew()
        except Exception as error:  # only a store fails
            self._failed(error)


def life_s(call: PendingCall) -> float:
    """Return how long `call` may still live by its own deadline; 0 when it has none."""
    return max(call.left_s() or 0.0, call.stream_left_s() or 0.0)
