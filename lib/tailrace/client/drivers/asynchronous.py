"""The driver for asyncio: carries out the policy's effects with `await`. It decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
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
from tailrace.client.call.pipeline import Pipeline
from tailrace.client.clock import Clock
from tailrace.client.drivers.single_flight import SingleFlight, hedged
from tailrace.client.drivers.store_warnings import StoreWarnings
from tailrace.client.event_loops import LoopEvent
from tailrace.client.policy import Policy
from tailrace.client.response.streams import AsyncMetered, Primed, aclose
from tailrace.client.stores import Entry
from tailrace.client.wire import Request, Response, Unanswered

T = TypeVar("T")


class AsyncDriver:
    """Carries requests through `policy` with asyncio; `send` makes one attempt.

    `send` raises `wire.Unanswered` when no answer came, and may return a streamed body. Several event loops may use
    one driver, also at once in threads: limits and budgets count the calls of all, and each has its own fetches.
    """

    def __init__(
        self,
        policy: Policy,
        send: Callable[[Request], Awaitable[Response]],
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.pipeline = Pipeline(policy, clock or Clock(), LoopEvent)
        self._send = send
        self._sleep = sleep
        self._store = policy.cache.store if policy.cache is not None else None
        self._now = self.pipeline.clock.monotonic
        self._warnings = StoreWarnings(self._store, self._now)
        self._single_flight = SingleFlight(self._run_shared)
        self._handlers: dict[type, Callable[[Any], Awaitable[Any]]] = {
            Send: self._on_send, Sleep: self._on_sleep, Wait: self._on_wait, Load: self._on_load, Save: self._on_save,
            Lease: self._on_lease, Release: self._on_release, Meter: self._on_meter, Join: self._single_flight.join,
            Background: self._single_flight.background, Blocking: lambda effect: asyncio.to_thread(effect.work),
        }  # fmt: skip

    async def __call__(self, request: Request) -> Response:
        """Return the answer to `request`. Raise what `tailrace.client.errors` lists when there is none."""
        return await self._run(self.pipeline.run(request))

    async def aclose(self) -> None:
        """Stop every fetch, also those that callers wait for, on every loop."""
        await self._single_flight.aclose()

    async def _run(self, work: Work[T], shared: bool = False) -> T:
        """Carry out `work` to its end."""
        try:
            effect = work.send(None)
            while True:
                try:
                    if shared and type(effect) is Meter:
                        effect = _for_many(effect, self._now())
                    result = await self._handlers[type(effect)](effect)
                    if shared and type(effect) is Meter:
                        result = self._single_flight.broadcast(result)
                except BaseException as error:
                    effect = work.throw(error)
                else:
                    effect = work.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def _run_shared(self, work: Work[T]) -> T:
        return await self._run(work, shared=True)

    async def _on_send(self, effect: Send) -> Response:
        if effect.hedge is not None:
            return await hedged(self._opened, effect, effect.hedge)
        response = await self._attempt(effect)
        return response if isinstance(response.body, bytes) else await self._ahead(effect, response)

    async def _opened(self, effect: Send) -> Response:
        response = await self._attempt(effect)
        return response if isinstance(response.body, bytes) else await self._ahead(effect, response)

    async def _ahead(self, effect: Send, response: Response) -> Response:
        """Read a stream ahead until it has shown that it is no error."""
        body: Any = response.body
        opening = effect.opening(response) if effect.opening is not None else None
        if opening is None:
            return response
        chunk = await anext(body, None)
        try:
            while opening.more(chunk):
                left_s = opening.left_s(effect.silence_s)
                if left_s is None:
                    chunk = await anext(body, None)
                    continue
                async with asyncio.timeout(left_s):
                    chunk = await anext(body, None)
        except TimeoutError as error:
            await aclose(body)
            raise Unanswered("timeout", "no token in time") from error
        except BaseException:
            await aclose(body)
            raise
        if opening.answer is not None:
            await aclose(body)
            return opening.answer
        return Response(response.status, response.headers, Primed.opened(opening.chunks, body))

    async def _attempt(self, effect: Send) -> Response:
        if effect.timeout_s is None:
            return await self._primed(effect.request)
        try:
            async with asyncio.timeout(effect.timeout_s):
                return await self._primed(effect.request.within(effect.timeout_s))
        except TimeoutError as error:
            raise Unanswered("timeout", f"no answer within {effect.timeout_s:.3f} s") from error

    async def _primed(self, request: Request) -> Response:
        """Send `request`, and wait for the first byte of its stream: until then it may be retried."""
        response = await self._send(request)
        if isinstance(response.body, bytes):
            return response
        first = await anext(response.body, None)
        return Response(response.status, response.headers, Primed(first, response.body))

    async def _on_sleep(self, effect: Sleep) -> None:
        await self._sleep(effect.seconds)

    async def _on_wait(self, effect: Wait) -> bool:
        event: Any = effect.event
        try:
            async with asyncio.timeout(effect.timeout_s):
                await event.wait()
        except TimeoutError:
            return event.is_set() is True
        return True

    async def _on_meter(self, effect: Meter) -> AsyncIterator[bytes]:
        return AsyncMetered(effect, self._run, self._now)

    async def _on_load(self, effect: Load) -> Entry | None:
        store, now = self._store, self.pipeline.clock.wall()
        assert store is not None
        try:
            return await asyncio.to_thread(store.get, effect.key, now) if store.slow_get else store.get(effect.key, now)
        except Exception as error:
            self._warnings.log("read", error)
            return None

    async def _on_save(self, effect: Save) -> None:
        store = self._store
        assert store is not None
        try:
            if store.slow_put:
                await asyncio.to_thread(store.put, effect.key, effect.entry)
            else:
                store.put(effect.key, effect.entry)
        except Exception as error:
            self._warnings.log("written", error)

    async def _on_lease(self, effect: Lease) -> bool:
        store, now = self._store, self.pipeline.clock.wall()
        assert store is not None
        try:
            if store.slow_put:
                return await asyncio.to_thread(store.lease, effect.key, now, effect.seconds)
            return store.lease(effect.key, now, effect.seconds)
        except Exception as error:
            self._warnings.log("leased", error)
            return True

    async def _on_release(self, effect: Release) -> None:
        store = self._store
        assert store is not None
        try:
            if store.slow_put:
                await asyncio.to_thread(store.release, effect.key)
            else:
                store.release(effect.key)
        except Exception as error:
            self._warnings.log("released", error)


def _for_many(meter: Meter, now: float) -> Meter:
    """Return the stream of `meter` for several readers, each with a deadline of his own.

    It may stand still for as long as the call that began it would have waited in all.
    """
    if meter.deadline_at is None:
        return meter
    left_s = max(0.0, meter.deadline_at - now)
    if meter.idle_s is not None and meter.idle_s < left_s:
        return replace(meter, deadline_at=None)
    return replace(meter, deadline_at=None, idle_s=left_s, idle_is_late=True)
