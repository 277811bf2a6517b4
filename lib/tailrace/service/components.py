"""The components of the service, assembled from its settings."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from tailrace.client import policy, wire
from tailrace.client.accounting import Call
from tailrace.client.drivers import AsyncDriver
from tailrace.client.request.guard import Guard
from tailrace.client.senders.aiohttp import AiohttpSender
from tailrace.client.stores import Entry, Store
from tailrace.service import request_context, stores
from tailrace.service.ask import Ask
from tailrace.service.capacity import MOST, Capacity
from tailrace.service.health import HealthCheck, HealthResult, LoopMonitor, Readiness
from tailrace.service.held_keys import HeldKeys
from tailrace.service.http_response import HttpResponse
from tailrace.service.in_flight import InFlight
from tailrace.service.logs import Log
from tailrace.service.metrics import Metrics
from tailrace.service.request_body import Bodies
from tailrace.service.settings import Settings
from tailrace.service.stores import open_probe, open_store
from tailrace.service.upstream import Upstream

BREAKER = policy.Breaker(open_s=2.0)
"""A service has many callers, so it retries the provider sooner than a single client would."""

Scope = Mapping[str, Any]
Handler = Callable[[Scope, bytes], Awaitable[HttpResponse]]
"""Takes an ASGI scope and the request's body."""


@dataclass(frozen=True)
class Components:
    """The parts that the app is built from."""

    forward: Handler
    ask: Handler
    readiness: Readiness
    loop_monitor: LoopMonitor
    metrics: Metrics
    log: Log
    in_flight: InFlight
    held_keys: HeldKeys
    bodies: Bodies
    max_in_flight: int


@asynccontextmanager
async def assemble(
    settings: Settings, log: Log, in_flight: InFlight, capacity: Capacity = MOST
) -> AsyncIterator[Components]:  # fmt: skip
    """Open the components, yield them, and close what they hold open."""
    metrics = Metrics(settings)
    store = open_store(settings.cache, settings.cache_max_bytes)
    budget = budget_store(settings, store)
    sender = await AiohttpSender(connections=capacity.in_flight).open()
    prober = await AiohttpSender(connections=1).open()  # the health check waits for no connection of requests
    driver = AsyncDriver(told(policy_of(settings, store, call_recorder(metrics), budget), metrics), sender)
    if (limiter := driver.pipeline.ledger.spend_limiter) is not None:
        metrics.watch_budget(limiter)
    metrics.watch_accounts(lambda: driver.pipeline.mishaps)
    upstream = Upstream(settings, driver)
    loop_monitor = LoopMonitor(metrics.loop_lag.set)
    checks = {"provider": provider_check(settings, prober), "cache": cache_check(settings, store)}
    monitoring = asyncio.create_task(loop_monitor.run())
    try:
        yield Components(
            forward=upstream, ask=Ask(settings, upstream), loop_monitor=loop_monitor, metrics=metrics, log=log,
            in_flight=in_flight, held_keys=HeldKeys.of(settings, os.environ),
            readiness=Readiness(checks, in_flight, timeout_s=settings.ready_timeout_s),
            bodies=Bodies(settings.max_body_bytes, settings.max_bodies_bytes, settings.silence_s),
            max_in_flight=capacity.in_flight)  # fmt: skip
    finally:
        monitoring.cancel()
        await driver.aclose()
        await sender.close()
        await prober.close()
        for opened in {id(one): one for one in (store, budget) if one is not None}.values():
            opened.close()


def budget_store(settings: Settings, store: Store | None) -> Store | None:
    """Return the store that TAILRACE_POLICY names for the budget: `store` where it is the same; None without one."""
    text = settings.policy.value("spend", "store") if settings.policy is not None else None
    if text is None or (text == settings.cache and store is not None):
        return None if text is None else store
    return open_store(text, settings.cache_max_bytes)


def policy_of(
    settings: Settings, store: Store | None, hook: policy.Hook, budget: Store | None = None
) -> policy.Policy:  # fmt: skip
    """Return the policy of the service's client: what the single settings say, and over it TAILRACE_POLICY."""
    own = policy.Policy(
        cache=None if store is None else policy.Cache(store=store, ttl_s=settings.cache_ttl_s),
        retry=policy.Retry(attempts=settings.retry_attempts),
        limits=policy.Limits(
            first_byte_s=settings.deadline_s, attempt_timeout_s=settings.attempt_timeout_s,
            silence_s=settings.silence_s, breaker=BREAKER),
        guard=Guard(max_bytes=settings.max_body_bytes),
        hooks=(hook,))  # fmt: skip
    places = {"cache.store": store, "spend.store": budget}
    whole = own if settings.policy is None else settings.policy.over(own, lambda _, place: places[place])
    once = whole.retry is not None and whole.retry.attempts == 1
    return replace(whole, retry=None) if once else whole


def told(whole: policy.Policy, metrics: Metrics) -> policy.Policy:
    """Return the policy that tells of attempts, where they can go to several places; a row for each costs time."""
    return replace(whole, attempt_hooks=(metrics.count_attempt,)) if whole.fallbacks or whole.targets else whole


def call_recorder(metrics: Metrics) -> policy.Hook:
    """Return the hook that counts each call and attaches it to the request that caused it."""

    def record(call: Call) -> None:
        context = request_context.CURRENT.get(None)
        if context is not None:
            context.call = call
        metrics.count_call(call)

    return record


def provider_check(settings: Settings, send: Callable[[wire.Request], Awaitable[wire.Response]]) -> HealthCheck:
    """Return the check that the provider answers `GET /models`, and accepts the service's own key if there is one."""
    key = (("authorization", f"Bearer {settings.api_key}"),) if settings.api_key else ()
    request = wire.Request("GET", f"{settings.provider_url}/models", key, b"", settings.ready_timeout_s)

    async def check() -> HealthResult:
        started = time.perf_counter()
        response = await send(request)
        if not isinstance(response.body, bytes):
            async for _ in response.body:
                pass
        took_ms = (time.perf_counter() - started) * 1e3
        refused = response.status in (401, 403) and bool(key)
        ok = response.status < 500 and not refused
        fact = f"GET /models answered {response.status} in {took_ms:.1f} ms"
        return HealthResult(ok, fact + " (key refused)" * refused)

    return check


def cache_check(settings: Settings, store: Store | None) -> HealthCheck:
    """Return the check that the store returns an entry that was just put into it."""
    if store is None:

        async def off() -> HealthResult:
            return HealthResult(True, "off")

        return off

    probe = open_probe(settings.cache, settings.cache_max_bytes, settings.ready_timeout_s / 2, store)
    kind = stores.name(settings.cache)
    key = f"readyz:{secrets.token_hex(8)}"  # a store may be shared: another service must not overwrite our entry

    def put_and_get() -> HealthResult:
        now = time.time()
        probe.put(key, Entry(200, (), (b"ready",), False, now, now + 60.0, "", 0, 0, 0, 0, None))
        entry = probe.get(key, now)
        ok = entry is not None and entry.stored_at == now
        return HealthResult(ok, f"{kind}: returns what was put" if ok else f"{kind}: did not return what was put")

    with suppress(Exception):  # its file is opened now, not in a call; the check says what is wrong
        put_and_get()
        store.put(key, Entry(200, (), (b"ready",), False, time.time(), time.time() + 60.0, "", 0, 0, 0, 0, None))

    async def check() -> HealthResult:
        return await asyncio.to_thread(put_and_get) if store.slow_put else put_and_get()

    return check
