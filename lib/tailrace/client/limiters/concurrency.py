"""The limit of attempts in flight: a fixed number, or one found by AIMD.

Slow start, then additive increase and multiplicative decrease, as TCP finds its window (RFC 5681): twice the permits
after each round of successes that used them, until the first sign of overload; then one more per round. 0.7 × after
a 429, a timeout or a 5xx, at most once per round.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable
from contextlib import suppress
from typing import Final

from tailrace.client.call.effects import Event

START: Final = 16.0
LEAST: Final = 1.0
MOST: Final = 1024.0
DECREASE: Final = 0.7


class Permits:
    """Permits for callers in turn, and for the calls of each in order of arrival: many calls of one hold up his own.

    A call that has to wait passes an event, and owns a permit once it is set.

    An event may belong to any thread or event loop; one that cannot be set is passed over.
    """

    def __init__(self, fixed: int | None) -> None:
        self._adaptive = fixed is None
        self.limit = START if fixed is None else float(fixed)
        self.in_flight = 0
        self._round = 0
        self._slow_start = True
        self._waiting: OrderedDict[Hashable, deque[Event]] = OrderedDict()
        self._lock = threading.RLock()  # the garbage collector may release an abandoned stream's permit at any moment

    def acquire(self, event: Event, caller: Hashable = None) -> bool:
        """Take a permit now and return True, or queue `event` among those of `caller` and return False."""
        with self._lock:
            if self.in_flight < int(self.limit) and not self._waiting:
                self.in_flight += 1
                return True
            self._waiting.setdefault(caller, deque()).append(event)
            return False

    def try_acquire(self) -> bool:
        """Take a permit if one is free and nobody waits."""
        with self._lock:
            free = self.in_flight < int(self.limit) and not self._waiting
            self.in_flight += free
            return free

    def withdraw(self, event: Event) -> None:
        """Stop waiting; a permit that was given meanwhile goes to the next."""
        with self._lock:
            for caller, events in self._waiting.items():
                if event in events:
                    events.remove(event)
                    if not events:
                        del self._waiting[caller]
                    return
            if event.is_set():
                self.in_flight -= 1
                self._pass_on()

    def release(self, overloaded: bool | None = None) -> None:
        """Give a permit back; `overloaded` is reported first, unless it is None."""
        with self._lock:
            if overloaded is not None and self._adaptive:
                self._learn(overloaded)
            self.in_flight -= 1
            if self._waiting:
                self._pass_on()

    def report(self, overloaded: bool) -> None:
        """Note whether an attempt met an overloaded provider."""
        if self._adaptive:
            with self._lock:
                self._learn(overloaded)

    def _learn(self, overloaded: bool) -> None:
        self._round += 1
        if overloaded and self._round >= 0:
            self.limit = max(LEAST, self.limit * DECREASE)
            self._slow_start = False
            self._round = -int(self.limit)  # the rest of this round was sent under the old limit
        elif not overloaded and self._round >= (limit := int(self.limit)) and self.in_flight >= limit // 2:
            self.limit = min(MOST, self.limit * 2 if self._slow_start else self.limit + 1)
            self._round = 0
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting and self.in_flight < int(self.limit):
            caller, events = self._waiting.popitem(last=False)
            event = events.popleft()
            if events:
                self._waiting[caller] = events  # behind all other callers
            with suppress(RuntimeError):  # the event loop of the one who waited is closed: the permit is the next one's
                event.set()
                self.in_flight += 1
