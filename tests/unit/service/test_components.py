"""The checks and the policy that settings make."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tailrace.client import wire
from tailrace.service.components import cache_check, policy_of, provider_check
from tailrace.service.settings import Settings
from tailrace.service.stores import open_store

SETTINGS = Settings(provider_url="http://127.0.0.1:9/v1", api_key="k" * 8)


@pytest.mark.parametrize(
    ("status", "own_key", "ok"),
    [(200, True, True), (404, True, True), (429, True, True), (401, True, False), (403, True, False),
     (401, False, True), (500, True, False), (503, False, False)],
)  # fmt: skip
def test_a_provider_is_healthy_when_it_accepts_us(status: int, own_key: bool, ok: bool) -> None:
    """Any status below 500 is healthy, unless the provider refuses the service's own key."""
    requests: list[wire.Request] = []

    async def send(request: wire.Request) -> wire.Response:
        requests.append(request)
        return wire.Response(status, (), b"")

    settings = SETTINGS if own_key else replace(SETTINGS, api_key="")
    fact = asyncio.run(provider_check(settings, send)())  # type: ignore[arg-type]
    assert fact.ok is ok
    assert fact.fact.startswith(f"GET /models answered {status} in ")
    assert requests[0].url == "http://127.0.0.1:9/v1/models"
    assert bool(requests[0].headers) is own_key


def test_a_cache_is_healthy_when_it_returns_what_was_put(tmp_path: Path) -> None:
    """Each kind of cache is tried by putting and getting an entry; one that is off is healthy."""
    for cache in ("off", "memory", f"sqlite:{tmp_path}/c.db"):
        settings = replace(SETTINGS, cache=cache)
        assert asyncio.run(cache_check(settings, open_store(settings.cache, settings.cache_max_bytes))()).ok  # type: ignore[arg-type]


def test_a_cache_that_keeps_nothing_is_not_healthy() -> None:
    """A store too small for any entry does not return it."""
    settings = replace(SETTINGS, cache_max_bytes=1)
    fact = asyncio.run(cache_check(settings, open_store(settings.cache, settings.cache_max_bytes))())  # type: ignore[arg-type]
    assert fact == (False, "memory: did not return what was put")


def test_settings_make_the_policy() -> None:
    """One attempt is no retry, "off" is no cache, and the limits are the settings'."""
    off = policy_of(replace(SETTINGS, retry_attempts=1, cache="off"), None, print)
    assert (off.retry, off.cache) == (None, None)
    on = policy_of(SETTINGS, open_store(SETTINGS.cache, SETTINGS.cache_max_bytes), print)
    assert on.retry is not None
    assert on.retry.attempts == 3
    assert on.cache is not None
    assert on.cache.deterministic_only
    assert on.limits is not None
    assert (on.limits.first_byte_s, on.limits.attempt_timeout_s, on.limits.silence_s) == (600.0, None, 300.0)
    assert on.limits.deadline_s is None, "the length of a stream is not limited"
