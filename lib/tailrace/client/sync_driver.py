"""The driver for threads: the same decisions as the asynchronous one, carried out by blocking."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tailrace.client.call import Fetched
from tailrace.client.clock import Clock
from tailrace.client.effects import Background, Join, Lease, Load, Meter, Release, Save, Send, Sleep, Wait, Work
from tailrace.client.excuses import Excuses
from tailrace.client.pipeline import Engine
from tailrace.client.policy import Policy
from tailrace.client.stores import Entry, Store
from tailrace.client.streams import Metered, Primed
from tailrace.client.wire import Request, Response

T = TypeVar("T")


class Driver:
    """Carries requests through `policy`, blocking; `send` makes one attempt. Safe for threads.

    Hedging needs a second attempt beside the first, which only the asynchronous driver makes. Streams are not
    shared among threads: two who ask for the same one at once ask twice.
    """

    def __init__(
        self,
        policy: Policy,
        send: Callable[[Request], Response[Iterator[bytes]]],
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if policy.limits is not None and policy.limits.hedge_after_s is not None:
            raise ValueError("Limits(hedge_after_s=…) needs the asynchronous client: AsyncOpenAI, async_transport")
        self.engine = Engine(policy, clock or Clock(), threading.Event)
        self._send = send
        self._sleep = sleep
        self._cache = policy.cache.store if policy.cache is not None else None
        self._excuses = Excuses(self._cache, self.engine.clock.monotonic)
        self._flights: dict[str, _Flight] = {}
        self._lock = threading.Lock()
        self._doing: dict[type, Callable[[Any], Any]] = {
            Send: self._sent, Sleep: lambda effect: self._sleep(effect.seconds), Wait: _waited, Load: self._loaded,
            Save: self._saved, Lease: self._leased, Release: self._released, Meter: self._metered, Join: self._joined,
            Background: self._begun,
        }  # fmt: skip

    def __call__(self, request: Request) -> Response[Iterator[bytes]]:
        """Return the answer to `request`; raises what `tailrace.client.errors` lists when there is none."""
        return self._run(self.engine.call(request))

    def _run(self, work: Work[T]) -> T:
        try:
            effect = work.send(None)
            while True:
                try:
                    given = self._doing[type(effect)](effect)
                except BaseException as error:
                    effect = work.throw(error)
                else:
                    effect = work.send(given)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _sent(self, effect: Send) -> Response[Iterator[bytes]]:
        response = self._send(effect.request.within(effect.timeout_s))
        if isinstance(response.body, bytes):
            return response
        return Response(response.status, response.headers, Primed(next(response.body, None), response.body))

    def _metered(self, effect: Meter) -> Iterator[bytes]:
        return Metered(effect, self._run, self.engine.clock.monotonic)

    def _joined(self, effect: Join) -> tuple[Fetched | BaseException | None, bool]:
        with self._lock:
            flight = self._flights.get(effect.key)
            ours = flight is None or flight.pid != os.getpid()  # what another process asked for never lands here
            if flight is None or ours:
                flight = self._flights[effect.key] = _Flight()
            else:
                flight.over = flight.over or threading.Event()
        if ours or flight.over is None:
            return self._flown(effect, flight), True
        if not flight.over.wait(None if effect.timeout_s is None else min(effect.timeout_s, threading.TIMEOUT_MAX)):
            raise TimeoutError
        return flight.result, False

    def _flown(self, effect: Join, flight: _Flight) -> Fetched | BaseException:
        try:
            fetched: Fetched = self._run(effect.work())
            flight.result = fetched if isinstance(fetched.response.body, bytes) else None
        except Exception as error:
            flight.result = error
            return error
        finally:
            with self._lock:
                del self._flights[effect.key]
            if flight.over is not None:
                flight.over.set()
        return fetched

    def _begun(self, effect: Background) -> None:
        if effect.key not in self._flights:
            join = Join(effect.key, lambda: _to_its_end(effect.work()), None, TimeoutError)
            threading.Thread(target=self._joined, args=(join,), name="tailrace-revalidate", daemon=True).start()

    @property
    def _store(self) -> Store:
        assert self._cache is not None
        return self._cache

    def _loaded(self, effect: Load) -> Entry | None:
        try:
            return self._store.get(effect.key, self.engine.clock.wall())
        except Exception as error:
            self._excuses.say("read", error)
            return None

    def _saved(self, effect: Save) -> None:
        try:
            self._store.put(effect.key, effect.entry)
        except Exception as error:
            self._excuses.say("written", error)

    def _leased(self, effect: Lease) -> bool:
        try:
            return self._store.lease(effect.key, self.engine.clock.wall(), effect.seconds)
        except Exception as error:
            self._excuses.say("leased", error)
            return True

    def _released(self, effect: Release) -> None:
        try:
            self._store.release(effect.key)
        except Exception as error:
            self._excuses.say("released", error)


class _Flight:
    """A fetch that others may wait for; the first who does makes the event, which most fetches do without."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.over: threading.Event | None = None
        self.result: Fetched | BaseException | None = None


def _to_its_end(work: Work[Fetched]) -> Work[Fetched]:
    """Carry out a fetch that no caller waits for: its stream is read here."""
    fetched = yield from work
    if not isinstance(fetched.response.body, bytes):
        deque(fetched.response.body, maxlen=0)
    return fetched


def _waited(effect: Wait) -> bool:
    event: Any = effect.event
    return event.wait(effect.timeout_s) is True
