"""The service put together from its settings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tailrace.client import policy, wire
from tailrace.client.accounting import Call
from tailrace.client.drivers import AsyncDriver
from tailrace.client.request.guard import Guard
from tailrace.client.senders.aiohttp import AiohttpSender
from tailrace.client.stores import Entry, Memory, Sqlite, Store
from tailrace.service import exchange
from tailrace.service.app import Parts
from tailrace.service.ask import Ask
from tailrace.service.forward import Forward
from tailrace.service.health import Check, Fact, Heart, Readiness
from tailrace.service.in_flight import Flights
from tailrace.service.logs import Log
from tailrace.service.metrics import Metrics
from tailrace.service.settings import Settings

BREAKER = policy.Breaker(open_s=2.0)
"""A service has many callers, and asks again sooner than a single client would."""


@asynccontextmanager
async def assembled(settings: Settings, log: Log, flights: Flights) -> AsyncIterator[Parts]:
    """Hold the service's parts open; what they keep open is closed at the end."""
    metrics = Metrics(settings)
    store = store_of(settings)
    sender = await AiohttpSender().open()
    driver = AsyncDriver(policy_of(settings, store, accountant(metrics)), sender)
    forward = Forward(settings, driver)
    heart = Heart(metrics.loop_lag.set)
    checks = {"provider": provider_check(settings, sender), "cache": cache_check(settings, store)}
    beating = asyncio.create_task(heart.beat())
    try:
        yield Parts(
            forward=forward, ask=Ask(settings, forward), heart=heart, metrics=metrics, log=log, flights=flights,
            readiness=Readiness(checks, flights, timeout_s=settings.ready_timeout_s),
            max_body_bytes=settings.max_body_bytes)  # fmt: skip
    finally:
        beating.cancel()
        await driver.aclose()
        await sender.close()
        if store is not None:
            store.close()


def store_of(settings: Settings) -> Store | None:
    """Return where answers are kept; None when they are not."""
    if settings.cache == "off":
        return None
    if settings.cache == "memory":
        return Memory(settings.cache_max_bytes)
    return Sqlite(settings.cache.removeprefix("sqlite:"), settings.cache_max_bytes)


def policy_of(settings: Settings, store: Store | None, hook: policy.Hook) -> policy.Policy:
    """Return what the service's client may do."""
    return policy.Policy(
        cache=None if store is None else policy.Cache(store=store, ttl_s=settings.cache_ttl_s),
        retry=None if settings.retry_attempts == 1 else policy.Retry(attempts=settings.retry_attempts),
        limits=policy.Limits(
            deadline_s=settings.deadline_s, attempt_timeout_s=settings.attempt_timeout_s, breaker=BREAKER),
        guard=Guard(max_bytes=settings.max_body_bytes),
        hooks=(hook,))  # fmt: skip


def accountant(metrics: Metrics) -> policy.Hook:
    """Return the hook that counts a call, and leaves it with the request that it was made for."""

    def account(call: Call) -> None:
        metrics.called(call)
        row = exchange.CURRENT.get(None)
        if row is not None:
            row.call = call

    return account


def provider_check(settings: Settings, send: Callable[[wire.Request], Awaitable[wire.Response]]) -> Check:
    """Return the check that the provider answers `GET /models`, and takes the service's key if it has one."""
    key = (("authorization", f"Bearer {settings.api_key}"),) if settings.api_key else ()
    request = wire.Request("GET", f"{settings.provider_url}/models", key, b"", settings.ready_timeout_s)

    async def check() -> Fact:
        started = time.perf_counter()
        response = await send(request)
        if not isinstance(response.body, bytes):
            async for _ in response.body:
                pass
        took_ms = (time.perf_counter() - started) * 1e3
        refused = response.status in (401, 403) and bool(key)
        ok = response.status < 500 and not refused
        return Fact(ok, f"GET /models answered {response.status} in {took_ms:.1f} ms" + " (key refused)" * refused)

    return check


def cache_check(settings: Settings, store: Store | None) -> Check:
    """Return the check that the cache takes an entry and gives it back.

    A file is tried through a connection of its own: one that is locked must not hold up the requests' own.
    """
    if store is None:

        async def off() -> Fact:
            return Fact(True, "off")

        return off

    path, busy_s = settings.cache.removeprefix("sqlite:"), settings.ready_timeout_s / 2
    own = store if isinstance(store, Memory) else Sqlite(path, settings.cache_max_bytes, busy_s)

    def turn() -> Fact:
        now = time.time()
        own.put("readyz", Entry(200, (), (b"ready",), False, now, now + 60.0, "", 0, 0, 0, 0, None))
        found = own.get("readyz", now)
        kind = settings.cache.partition(":")[0]
        given = found is not None and found.stored_at == now
        return Fact(given, f"{kind}: takes and gives" if given else f"{kind}: took an entry and did not give it back")

    async def check() -> Fact:
        return await asyncio.to_thread(turn) if store.slow_put else turn()

    return check
