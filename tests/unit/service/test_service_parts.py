"""The checks and the policy that settings make."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tailrace.client import wire
from tailrace.service.parts import cache_check, policy_of, provider_check, store_of
from tailrace.service.settings import Settings

SETTINGS = Settings(provider_url="http://127.0.0.1:9/v1", api_key="k" * 8)


@pytest.mark.parametrize(
    ("status", "own_key", "ok"),
    [(200, True, True), (404, True, True), (429, True, True), (401, True, False), (403, True, False),
     (401, False, True), (500, True, False), (503, False, False)],
)  # fmt: skip
def test_a_provider_is_there_when_it_answers_for_us(status: int, own_key: bool, ok: bool) -> None:
    """Any answer below 500 is one, unless it refuses the service's own key."""
    asked: list[wire.Request] = []

    async def send(request: wire.Request) -> wire.Response:
        asked.append(request)
        return wire.Response(status, (), b"")

    settings = SETTINGS if own_key else replace(SETTINGS, api_key="")
    fact = asyncio.run(provider_check(settings, send)())  # type: ignore[arg-type]
    assert fact.ok is ok
    assert fact.fact.startswith(f"GET /models answered {status} in ")
    assert asked[0].url == "http://127.0.0.1:9/v1/models"
    assert bool(asked[0].headers) is own_key


def test_a_cache_is_usable_when_it_gives_what_it_took(tmp_path: Path) -> None:
    """Each kind of cache is tried by putting and getting; one that is off is nothing to wait for."""
    for cache in ("off", "memory", f"sqlite:{tmp_path}/c.db"):
        settings = replace(SETTINGS, cache=cache)
        assert asyncio.run(cache_check(settings, store_of(settings))()).ok  # type: ignore[arg-type]


def test_a_cache_that_keeps_nothing_is_not_usable() -> None:
    """A store too small for anything takes and does not give."""
    settings = replace(SETTINGS, cache_max_bytes=1)
    fact = asyncio.run(cache_check(settings, store_of(settings))())  # type: ignore[arg-type]
    assert fact == (False, "memory: took an entry and did not give it back")


def test_settings_make_the_policy() -> None:
    """One attempt is no retry, "off" is no cache, and the limits are the settings'."""
    off = policy_of(replace(SETTINGS, retry_attempts=1, cache="off"), None, print)
    assert (off.retry, off.cache) == (None, None)
    on = policy_of(SETTINGS, store_of(SETTINGS), print)
    assert on.retry is not None
    assert on.retry.attempts == 3
    assert on.cache is not None
    assert on.cache.deterministic_only
    assert on.limits is not None
    assert (on.limits.deadline_s, on.limits.attempt_timeout_s) == (30.0, 20.0)
