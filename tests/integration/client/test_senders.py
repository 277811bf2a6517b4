"""Senders: aiohttp and httpx2, with the SDK and without it."""

import asyncio
import time

import openai
import orjson
import pytest

from tailrace import AsyncOpenAI, Cache, Limits, Memory, OpenAI, Policy, Retry
from tailrace.client import ConnectionFailed, TimedOut
from tailrace.headers import CACHE

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def test_the_driver_needs_no_sdk(provider, key):
    """The driver alone, as the service uses it: bytes in, bytes out, over one shared aiohttp session."""
    from tailrace.client import AsyncDriver, wire
    from tailrace.client.senders.aiohttp import AiohttpSender

    async def main():
        async with AiohttpSender(connections=2) as send:
            driver = AsyncDriver(Policy(cache=Cache(store=Memory())), send)
            found = []
            for stream in (False, False, True, True):
                body = orjson.dumps({**ASK, "stream": stream})
                headers = (("authorization", f"Bearer {key}"), ("content-type", "application/json"))
                got = await driver(wire.Request("POST", f"{provider.url}/chat/completions", headers, body))
                whole = got.body if isinstance(got.body, bytes) else b"".join([chunk async for chunk in got.body])
                found.append((wire.header(got.headers, CACHE), whole))
            return found

    found = asyncio.run(main())
    assert [label for label, _ in found] == ["miss", "hit", "miss", "hit"]
    assert found[0][1] == found[1][1]
    assert found[2][1] == found[3][1]


@pytest.mark.parametrize(("cut", "error"), [(True, ConnectionFailed), (False, TimedOut)])
def test_the_drivers_errors_are_the_sdks(provider, make, cut, error):
    """Without an answer the driver raises the SDK's errors, with attempts and time."""
    from tailrace.client import AsyncDriver, wire
    from tailrace.client.senders.aiohttp import AiohttpSender

    provider.usual = lambda seen: make.answer(cut=cut, delay_s=0 if cut else 1)

    async def main():
        async with AiohttpSender() as send:
            driver = AsyncDriver(
                Policy(retry=Retry(attempts=2, base_s=0.01), limits=Limits(attempt_timeout_s=0.2)), send
            )
            await driver(wire.Request("POST", f"{provider.url}/chat/completions", (), orjson.dumps(ASK)))

    with pytest.raises(error) as caught:
        asyncio.run(main())
    assert caught.value.attempts == 2


def test_a_client_outlives_its_loop_and_may_be_forgotten(provider, key, recwarn):
    """One client works on several loops in turn, and a client that is never closed causes no warning."""
    import gc

    client = AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=None))
    for _ in range(3):
        assert asyncio.run(client.chat.completions.create(**ASK)).choices
    del client
    gc.collect()
    assert [str(warning.message) for warning in recwarn if "client session" in str(warning.message)] == []


def test_on_httpx2_and_on_aiohttp_it_is_the_same(simulator, key):
    """The lean sender and the SDK's own transport give the same answers, streams and errors."""

    def outcomes(http):
        async def main():
            policy = Policy(retry=Retry(attempts=2, base_s=0.01), limits=Limits(attempt_timeout_s=0.3))
            async with AsyncOpenAI(api_key=key, base_url=simulator.url, http_client=http, policy=policy) as client:
                found = [(await client.chat.completions.create(**ASK)).choices]
                found.append(
                    [chunk.choices async for chunk in await client.chat.completions.create(**ASK, stream=True)]
                )
                for kind in ("quota", "error500", "reset", "hang", "outage"):
                    simulator.faults({"kind": kind})
                    with pytest.raises(openai.APIError) as caught:
                        await client.chat.completions.create(**ASK, seed=1)
                    found.append((type(caught.value), str(caught.value).split(":")[0]))
                simulator.faults()
                return found

        return asyncio.run(main())

    assert outcomes(None) == outcomes(openai.DefaultAsyncHttpxClient())


def test_a_short_answer_time_keeps_a_thread_from_hanging(provider, make, key):
    """A blocking client keeps the attempt's timeout even when the provider trickles its answer."""
    slow = make.answer(chunks=tuple(make.completion()[at : at + 8] for at in range(0, 320, 8)), between_s=1.0)
    provider.usual = lambda seen: slow
    policy = Policy(cache=None, retry=None, limits=Limits(attempt_timeout_s=0.3))
    began = time.perf_counter()
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client, pytest.raises(TimedOut):
        client.chat.completions.create(**ASK)
    assert time.perf_counter() - began < 20
