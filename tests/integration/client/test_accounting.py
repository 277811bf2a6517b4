"""Accounting at every way out of a call: malformed answers, cancelled callers, abandoned streams."""

import asyncio
import gc
import time

import orjson
import pytest

from tailrace import AsyncOpenAI, Breaker, Cache, Fallback, Limits, Memory, OpenAI, Policy, Retry, Spend
from tailrace.client import AsyncDriver, wire
from tailrace.client.errors import ConnectionFailed
from tailrace.client.senders.aiohttp import AiohttpSender

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
QUICK = Retry(attempts=3, base_s=0.01, cap_s=0.02)


def pipeline(client):
    return client._client._transport.driver.pipeline


def test_an_answer_that_is_no_json_is_asked_for_again(provider, make, key):
    """A 200 with truncated JSON counts as no answer: retried, never cached, and its reservation is spent."""
    calls = []
    provider.answers = [make.answer(body=make.completion()[:-20]), make.answer(body=b"")]
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(retry=QUICK, hooks=(calls.append,))) as client:
        found = [client.chat.completions.with_raw_response.create(**ASK) for _ in range(2)]
    assert [answer.headers["x-tailrace-attempts"] for answer in found] == ["3", "0"]
    assert [(call.cache, call.outcome) for call in calls] == [("miss", "ok"), ("hit", "ok")]


def test_an_answer_that_stays_malformed_is_an_error_in_the_books(provider, make, key):
    """The SDK's error is raised, the row names it, nothing is stored, and the whole reservation is spent."""
    calls = []
    provider.usual = lambda seen: make.answer(body=make.completion()[:-20])
    policy = Policy(retry=QUICK, spend=Spend(1.0), hooks=(calls.append,))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
                client.chat.completions.create(**ASK)
        spent = pipeline(client).ledger.spend_limiter.spent_usd()
    assert [(call.outcome, call.error_type, call.attempts, call.cost_usd) for call in calls] == [
        ("error", "bad_body", 3, None)] * 2  # fmt: skip
    assert len(provider.seen) == 6
    assert spent > 2 * 4096 * 0.6e-6


@pytest.mark.parametrize("odd", [b'"logprobs": NaN', b'"refusal": "\\ud83d"'])
def test_what_the_sdk_can_read_is_not_malformed(provider, make, key, odd):
    """NaN and half a surrogate pair, which strict parsers refuse and the SDK accepts, are answers."""
    provider.usual = lambda seen: make.answer(
        body=make.completion().replace(b'"' + odd.split(b'"')[1] + b'": null', odd)
    )
    with OpenAI(api_key=key, base_url=provider.url) as client:
        assert client.chat.completions.create(**ASK).choices[0].message.content == "hello"
    assert odd in provider.usual(None).body
    assert len(provider.seen) == 1


def test_malformed_answers_open_the_breaker(provider, make, key):
    """A malformed answer counts as a failure, as a 500 does."""
    provider.usual = lambda seen: make.answer(body=b"<html>")
    policy = Policy(cache=None, retry=None, limits=Limits(breaker=Breaker(min_calls=5)))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for _ in range(5):
            with pytest.raises(ValueError, match="Expecting"):
                client.chat.completions.create(**ASK)
        with pytest.raises(Exception, match="not sent"):
            client.chat.completions.create(**ASK)


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_caller_is_booked_and_gives_all_back(provider, make, key, stream):
    """A call cancelled while the provider works is one row "cancelled"; nothing is held, the reservation is spent."""
    calls = []
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=60)
    policy = Policy(cache=None, limits=Limits(concurrency=2), spend=Spend(1.0), hooks=(calls.append,))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            task = asyncio.create_task(client.chat.completions.create(**ASK, stream=stream))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            purse = pipeline(client).ledger.spend_limiter
            return pipeline(client).fetcher.attempts.permits.in_flight, purse.reserved_usd(), purse.spent_usd()

    in_flight, reserved, spent = asyncio.run(main())
    assert (in_flight, reserved) == (0, pytest.approx(0))
    assert spent > 4096 * 0.6e-6
    assert [(call.outcome, call.attempts, call.cost_usd) for call in calls] == [("cancelled", 1, None)]


def test_a_follower_who_leaves_is_booked_too(provider, make, key):
    """When one of three calls that share an answer is cancelled, there are three rows and one request."""
    calls = []
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.5)

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(hooks=(calls.append,))) as client:
            tasks = [asyncio.create_task(client.chat.completions.create(**ASK)) for _ in range(3)]
            await asyncio.sleep(0.2)
            tasks[2].cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert sorted((call.outcome, call.cache) for call in calls) == [
        ("cancelled", "coalesced"), ("ok", "coalesced"), ("ok", "miss")]  # fmt: skip
    assert len(provider.seen) == 1


@pytest.mark.parametrize("collected", [False, True], ids=["alone", "with all that it holds"])
def test_a_forgotten_stream_gives_back_what_it_held(provider, key, collected):
    """A stream that is abandoned without a close frees its permit at once, and is booked with the next call.

    In a reference cycle the collector finalises all parts together, in any order: it is booked once.
    """
    calls = []
    policy = Policy(cache=None, limits=Limits(concurrency=1), spend=Spend(1.0), hooks=(calls.append,))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        stream = client.chat.completions.create(**ASK, stream=True)
        next(stream)
        if collected:
            stream.itself = stream
        del stream
        gc.collect()
        assert pipeline(client).fetcher.attempts.permits.in_flight == 0
        assert pipeline(client).ledger.spend_limiter.reserved_usd() == pytest.approx(0)
        client.chat.completions.create(**ASK)
    assert [call.outcome for call in calls] == ["cancelled", "ok"]


def test_a_probe_that_is_cancelled_does_not_close_the_circuit(provider, make, key):
    """A probe that is cancelled says nothing: the circuit stays open, and the next call may probe."""
    provider.usual = lambda seen: make.answer(500, b"{}")
    breaker = Breaker(min_calls=5, open_s=0.2)
    policy = Policy(cache=None, retry=None, limits=Limits(breaker=breaker))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(5)), return_exceptions=True)
            await asyncio.sleep(0.25)
            provider.usual = lambda seen: make.answer(500, b"{}", delay_s=0.5)
            probe = asyncio.create_task(client.chat.completions.create(**ASK))
            await asyncio.sleep(0.1)
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
            (destination,) = pipeline(client).fetcher.attempts.destinations.all()
            circuit = destination.breaker
            return circuit._open_until is not None, circuit.admit()

    assert asyncio.run(main()) == (True, 0.0)


class Leased(Memory):
    """A store that notes the leases that are held."""

    def __init__(self):
        super().__init__()
        self.held = set()

    def lease(self, key, now, seconds):
        self.held.add(key)
        return True

    def release(self, key):
        self.held.remove(key)


WAYS = ["answered", "refused", "down", "by a fallback", "over budget", "streamed", "left"]


@pytest.mark.parametrize("way", WAYS)
def test_a_lease_is_given_back_on_every_way(provider, make, key, way):
    """The lease is released however the call ends, so that no process waits for its expiry."""
    store = Leased()
    bad = {"refused": make.answer(400, b"{}"), "down": make.answer(cut=True), "by a fallback": make.answer(500, b"{}")}
    provider.answers = [bad[way]] if way in bad else []
    policy = Policy(cache=Cache(store=store), retry=None, spend=Spend(1e-9 if way == "over budget" else 1.0),
                    fallbacks=(Fallback(model="gpt-4o"),) if way == "by a fallback" else ())  # fmt: skip
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        try:
            answer = client.chat.completions.create(**ASK, stream=way in ("streamed", "left"))
            if way == "streamed":
                list(answer)
            elif way == "left":
                next(answer)
                answer.close()
        except Exception:
            assert way in ("refused", "down", "over budget")
    assert store.held == set()


def test_whoever_waits_when_the_client_closes_gets_the_sdks_error(provider, make):
    """When a driver is closed, waiting callers get a connection error, never an internal one."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=60)

    async def main():
        async with AiohttpSender() as send:
            driver = AsyncDriver(Policy(), send)
            asked = wire.Request("POST", f"{provider.url}/chat/completions", (), orjson.dumps(ASK))
            waiting = [asyncio.create_task(driver(asked)) for _ in range(3)]
            await asyncio.sleep(0.2)
            await driver.aclose()
            return await asyncio.gather(*waiting, return_exceptions=True)

    began = time.perf_counter()
    assert [type(error) for error in asyncio.run(main())] == [ConnectionFailed] * 3
    assert time.perf_counter() - began < 30
