"""The drivers: they carry out what the policy asks for, one with `await`, one with threads. They decide nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from tailrace.client.clock import Clock
from tailrace.client.effects import Background, Join, Lease, Load, Meter, Release, Save, Send, Sleep, Wait, Work
from tailrace.client.excuses import Excuses
from tailrace.client.pipeline import Engine
from tailrace.client.policy import Policy
from tailrace.client.single_flight import Flights, hedged
from tailrace.client.stores import Entry
from tailrace.client.streams import AsyncMetered, Primed
from tailrace.client.sync_driver import Driver
from tailrace.client.wire import Request, Response, Unanswered

__all__ = ["AsyncDriver", "Driver"]

T = TypeVar("T")


class AsyncDriver:
    """Carries requests through `policy` with asyncio; `send` makes one attempt.

    `send` raises `wire.Unanswered` when no answer came, and may give a streamed body.
    """

    def __init__(
        self,
        policy: Policy,
        send: Callable[[Request], Awaitable[Response]],
        *,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.engine = Engine(policy, clock or Clock(), asyncio.Event)
        self._send = send
        self._sleep = sleep
        self._store = policy.cache.store if policy.cache is not None else None
        self._excuses = Excuses(self._store, self.engine.clock.monotonic)
        self._flights = Flights(self._run_shared)
        self._now = self.engine.clock.monotonic
        self._doing: dict[type, Callable[[Any], Awaitable[Any]]] = {
            Send: self._sent, Sleep: self._slept, Wait: self._waited, Load: self._loaded, Save: self._saved,
            Lease: self._leased, Release: self._released, Meter: self._metered, Join: self._flights.join,
            Background: self._flights.background,
        }  # fmt: skip

    async def __call__(self, request: Request) -> Response:
        """Return the answer to `request`; raises what `tailrace.client.errors` lists when there is none."""
        return await self._run(self.engine.call(request))

    async def aclose(self) -> None:
        """Stop what is still being fetched, for whomever."""
        await self._flights.aclose()

    async def _run(self, work: Work[T], shared: bool = False) -> T:
        """Carry out `work` to its end."""
        try:
            effect = work.send(None)
            while True:
                try:
                    if shared and type(effect) is Meter:
                        effect = _for_many(effect, self._now())
                    given = await self._doing[type(effect)](effect)
                    if shared and type(effect) is Meter:
                        given = self._flights.broadcast(given)
                except BaseException as error:
                    effect = work.throw(error)
                else:
                    effect = work.send(given)
        except StopIteration as stop:
            result: T = stop.value
            return result

    async def _run_shared(self, work: Work[T]) -> T:
        return await self._run(work, shared=True)

    async def _sent(self, effect: Send) -> Response:
        if effect.hedge is not None:
            return await hedged(lambda: self._attempt(effect), effect.hedge)
        return await self._attempt(effect)

    async def _attempt(self, effect: Send) -> Response:
        if effect.timeout_s is None:
            return await self._primed(effect.request)
        try:
            async with asyncio.timeout(effect.timeout_s):
                return await self._primed(effect.request.within(effect.timeout_s))
        except TimeoutError as error:
            raise Unanswered("timeout", f"no answer within {effect.timeout_s:.3f} s") from error

    async def _primed(self, request: Request) -> Response:
        """Send it, and wait for the first byte of its stream: up to there it may be asked again."""
        response = await self._send(request)
        if isinstance(response.body, bytes):
            return response
        first = await anext(response.body, None)
        return Response(response.status, response.headers, Primed(first, response.body))

    async def _slept(self, effect: Sleep) -> None:
        await self._sleep(effect.seconds)

    async def _waited(self, effect: Wait) -> bool:
        event: Any = effect.event
        try:
            async with asyncio.timeout(effect.timeout_s):
                await event.wait()
        except TimeoutError:
            return event.is_set() is True
        return True

    async def _metered(self, effect: Meter) -> AsyncIterator[bytes]:
        return AsyncMetered(effect, self._run, self._now)

    async def _loaded(self, effect: Load) -> Entry | None:
        store, now = self._store, self.engine.clock.wall()
        assert store is not None
        try:
            return await asyncio.to_thread(store.get, effect.key, now) if store.slow_get else store.get(effect.key, now)
        except Exception as error:
            self._excuses.say("read", error)
            return None

    async def _saved(self, effect: Save) -> None:
        store = self._store
        assert store is not None
        try:
            if store.slow_put:
                await asyncio.to_thread(store.put, effect.key, effect.entry)
            else:
                store.put(effect.key, effect.entry)
        except Exception as error:
            self._excuses.say("written", error)

    async def _leased(self, effect: Lease) -> bool:
        store, now = self._store, self.engine.clock.wall()
        assert store is not None
        try:
            if store.slow_put:
                return await asyncio.to_thread(store.lease, effect.key, now, effect.seconds)
            return store.lease(effect.key, now, effect.seconds)
        except Exception as error:
            self._excuses.say("leased", error)
            return True

    async def _released(self, effect: Release) -> None:
        store = self._store
        assert store is not None
        try:
            if store.slow_put:
                await asyncio.to_thread(store.release, effect.key)
            else:
                store.release(effect.key)
        except Exception as error:
            self._excuses.say("released", error)


def _for_many(meter: Meter, now: float) -> Meter:
    """Return the stream of `meter` for readers who each keep a deadline of their own.

    It may stand still as long as he who began it would have waited at all.
    """
    if meter.deadline_at is None:
        return meter
    left_s = max(0.0, meter.deadline_at - now)
    if meter.idle_s is not None and meter.idle_s < left_s:
        return replace(meter, deadline_at=None)
    return replace(meter, deadline_at=None, idle_s=left_s, idle_is_late=True)
