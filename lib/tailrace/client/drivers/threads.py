"""The driver for threads: carries out the policy's effects by blocking. It decides nothing."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from tailrace.client.call.effects import (
    Background,
    Blocking,
    Join,
    Lease,
    Load,
    Meter,
    Release,
    Save,
    Send,
    Sleep,
    Wait,
    Work,
)
from tailrace.client.call.pending import FetchResult, PendingCall
from tailrace.client.call.pipeline import Pipeline
from tailrace.client.clock import Clock
from tailrace.client.drivers.store_warnings import StoreWarnings
from tailrace.client.policy import Policy
from tailrace.client.response.streams import Metered, Primed, close
from tailrace.client.stores import Entry, Store
from tailrace.client.wire import Request, Response

T = TypeVar("T")


class Driver:
    """Carries requests through `policy`, blocking; `send` makes one attempt. Safe for threads.

    Hedging needs a second attempt beside the first, which only the asynchronous driver makes. Streams are not
    shared among threads: two threads that ask for the same stream at once send two requests.
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
        self.pipeline = Pipeline(policy, clock or Clock(), threading.Event)
        self._send = send
        self._sleep = sleep
        self._cache = policy.cache.store if policy.cache is not None else None
        self._warnings = StoreWarnings(self._cache, self.pipeline.clock.monotonic)
        self._under_way: dict[str, _SharedFetch] = {}
        self._lock = threading.Lock()
        self._handlers: dict[type, Callable[[Any], Any]] = {
            Send: self._on_send, Sleep: lambda effect: self._sleep(effect.seconds), Wait: _on_wait, Load: self._on_load,
            Save: self._on_save, Lease: self._on_lease, Release: self._on_release, Meter: self._on_meter,
            Join: self._on_join, Background: self._on_background, Blocking: lambda effect: effect.work(),
        }  # fmt: skip

    def __call__(self, request: Request) -> Response[Iterator[bytes]]:
        """Return the answer to `request`. Raise what `tailrace.client.errors` lists when there is none."""
        return self._run(self.pipeline.run(request))

    def _run(self, work: Work[T]) -> T:
        try:
            effect = work.send(None)
            while True:
                try:
                    result = self._handlers[type(effect)](effect)
                except BaseException as error:
                    effect = work.throw(error)
                else:
                    effect = work.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    def _on_send(self, effect: Send) -> Response[Iterator[bytes]]:
        response = self._send(effect.request.within(effect.timeout_s, effect.silence_s))
        if isinstance(response.body, bytes):
            return response
        body = response.body
        first = next(body, None)
        opening = effect.opening(response) if first is not None and effect.opening is not None else None
        if opening is None:
            return Response(response.status, response.headers, Primed(first, body))
        chunk = first
        try:
            while opening.more(chunk):
                chunk = next(body, None)
        except BaseException:
            close(body)
            raise
        if opening.answer is not None:
            close(body)
            return opening.answer
        return Response(response.status, response.headers, Primed.opened(opening.chunks, body))

    def _on_meter(self, effect: Meter) -> Iterator[bytes]:
        return Metered(effect, self._run, self.pipeline.clock.monotonic)

    def _on_join(self, effect: Join) -> tuple[FetchResult | BaseException | None, bool]:
        with self._lock:
            fetch = self._under_way.get(effect.key)
            # a fetch begun before a fork never ends here
            ours = fetch is None or fetch.pid != os.getpid() or fetch.call.over
            if fetch is None or ours:
                fetch = self._under_way[effect.key] = _SharedFetch(effect.call)
            else:
                fetch.over = fetch.over or threading.Event()
        if ours or fetch.over is None:
            return self._fetch(effect, fetch), True
        if not fetch.over.wait(None if effect.timeout_s is None else min(effect.timeout_s, threading.TIMEOUT_MAX)):
            raise TimeoutError
        return fetch.result, False

    def _fetch(self, effect: Join, fetch: _SharedFetch) -> FetchResult | BaseException:
        try:
            result: FetchResult = self._run(effect.work())
            fetch.result = result if isinstance(result.response.body, bytes) else None
        except Exception as error:
            fetch.result = error
            return error
        finally:
            with self._lock:
                if self._under_way.get(effect.key) is fetch:
                    del self._under_way[effect.key]
            if fetch.over is not None:
                fetch.over.set()
        return result

    def _on_background(self, effect: Background) -> None:
        if effect.key not in self._under_way:
            join = Join(effect.key, lambda: _with_whole_stream(effect.work()), effect.call, None, TimeoutError)
            threading.Thread(target=self._on_join, args=(join,), name="tailrace-revalidate", daemon=True).start()

    @property
    def _store(self) -> Store:
        assert self._cache is not None
        return self._cache

    def _on_load(self, effect: Load) -> Entry | None:
        try:
            return self._store.get(effect.key, self.pipeline.clock.wall())
        except Exception as error:
            self._warnings.log("read", error)
            return None

    def _on_save(self, effect: Save) -> None:
        try:
            self._store.put(effect.key, effect.entry)
        except Exception as error:
            self._warnings.log("written", error)

    def _on_lease(self, effect: Lease) -> bool:
        try:
            return self._store.lease(effect.key, self.pipeline.clock.wall(), effect.seconds)
        except Exception as error:
            self._warnings.log("leased", error)
            return True

    def _on_release(self, effect: Release) -> None:
        try:
            self._store.release(effect.key)
        except Exception as error:
            self._warnings.log("released", error)


class _SharedFetch:
    """A fetch that other threads may wait for; the first that waits makes the event, which most fetches do without."""

    def __init__(self, call: PendingCall) -> None:
        self.call = call
        self.pid = os.getpid()
        self.over: threading.Event | None = None
        self.result: FetchResult | BaseException | None = None


def _with_whole_stream(work: Work[FetchResult]) -> Work[FetchResult]:
    """Carry out a fetch that no caller waits for, and read its stream to the end."""
    result = yield from work
    if not isinstance(result.response.body, bytes):
        deque(result.response.body, maxlen=0)
    return result


def _on_wait(effect: Wait) -> bool:
    event: Any = effect.event
    return event.wait(effect.timeout_s) is True
