"""Breaker, permits, rates, hedging, fallbacks, spend and guard over real HTTP."""

import asyncio
import time

import openai
import pytest

from tailrace import AsyncOpenAI, Breaker, Fallback, Limits, OpenAI, Policy, Retry, Spend, limits
from tailrace.client import BudgetExceeded, CircuitOpen, DeadlineExceeded, InputRejected, PriceUnknown

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def test_the_breaker_opens_on_failures_and_spares_the_provider(simulator, key):
    """After ten failures nothing is sent, until one probe finds the provider healthy."""
    simulator.faults({"kind": "error500", "count": 10})
    breaker = Breaker(min_calls=10, open_s=0.3)
    policy = Policy(cache=None, retry=None, limits=Limits(breaker=breaker))
    with OpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
        for _ in range(10):
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(**ASK)
        for _ in range(5):
            with pytest.raises(CircuitOpen) as caught:
                client.chat.completions.create(**ASK)
            assert caught.value.attempts == 0
        assert simulator.requests == 10
        time.sleep(0.35)
        assert client.chat.completions.create(**ASK).choices


def test_429_never_opens_the_breaker(simulator, key):
    """Fifty rate limits in a row leave the circuit closed."""
    simulator.faults({"kind": "rate_limit", "retry_after_s": 0, "count": 50})
    policy = Policy(cache=None, retry=None, limits=Limits(breaker=Breaker(min_calls=5)))
    with OpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
        for _ in range(50):
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(**ASK)
        assert client.chat.completions.create(**ASK).choices


@pytest.mark.parametrize("stream", [False, True])
def test_no_more_than_so_many_are_in_flight(provider, make, key, stream):
    """Of 12 calls at once three are in flight at a time, streams to their end; all are answered."""
    answer = make.answer(headers={"content-type": "text/event-stream"}, chunks=make.events("a", "b"), between_s=0.03)
    whole = make.answer(body=make.completion(), delay_s=0.1)
    times = []

    def usual(seen):
        times.append(time.perf_counter())
        return answer if stream else whole

    provider.usual = usual

    async def asked(client, number):
        found = await client.chat.completions.create(**ASK, seed=number, stream=stream)
        return len([chunk async for chunk in found]) if stream else 1

    async def main():
        policy = Policy(cache=None, limits=Limits(concurrency=3))
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            await asyncio.gather(*(asked(client, number) for number in range(12)))
            return client._client._transport.driver.pipeline.fetcher.attempts.permits.in_flight

    assert asyncio.run(main()) == 0
    times.sort()
    assert all(later - earlier > 0.06 for earlier, later in zip(times, times[3:], strict=False))


def test_a_permit_is_free_while_its_call_backs_off(provider, make, key):
    """With one permit, a call in backoff lets the next one through."""
    provider.answers = [make.answer(500, b"{}", {"retry-after": "1"})]

    async def main():
        policy = Policy(cache=None, limits=Limits(concurrency=1))
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            waiting = asyncio.create_task(client.chat.completions.create(**ASK, seed=1))
            while not provider.seen:  # noqa: ASYNC110 - the server is a thread, and knows no asyncio.Event
                await asyncio.sleep(0.01)
            await client.chat.completions.create(**ASK, seed=2)
            await waiting

    asyncio.run(main())
    assert [seen.json["seed"] for seen in provider.seen] == [1, 2, 1]


def test_requests_per_minute_are_spread(provider, key):
    """At 600 a minute with 100 at once, a call beyond them waits its turn; one without the time fails."""
    policy = Policy(cache=None, limits=Limits(requests_per_min=600))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        rate = client._client._transport.driver.pipeline.fetcher.attempts.rates.requests
        rate.reserve(110)
        began = time.perf_counter()
        client.chat.completions.create(**ASK)
        assert 0.2 < time.perf_counter() - began < 20
        rate.reserve(100)
        with limits(deadline_s=0.5), pytest.raises(DeadlineExceeded, match="rate limit"):
            client.chat.completions.create(**ASK)


def test_a_deadline_counts_the_wait_for_a_permit(provider, make, key):
    """With the only permit taken, a call with a deadline of 0.3 s fails by then, without an attempt."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=60)

    async def main():
        async with AsyncOpenAI(
            api_key=key, base_url=provider.url, policy=Policy(cache=None, limits=Limits(concurrency=1))
        ) as client:
            first = asyncio.create_task(client.chat.completions.create(**ASK))
            await asyncio.sleep(0.1)
            with limits(deadline_s=0.3), pytest.raises(DeadlineExceeded, match="permit") as caught:
                await client.chat.completions.create(**ASK)
            first.cancel()
            return caught.value

    error = asyncio.run(main())
    assert error.attempts == 0
    assert 0.2 < error.elapsed_s < 30


def test_tokens_per_minute_are_spread_and_corrected(provider, key):
    """At 6,000 a minute a call waits for its estimate, its real usage counts, and one that never fits fails now."""
    calls = []
    policy = Policy(cache=None, limits=Limits(tokens_per_min=6000), hooks=(calls.append,))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client, limits(deadline_s=8):
        for _ in range(3):  # a thousand at once, then a hundred a second; 15 are used of each estimate of 1,025
            client.chat.completions.create(**ASK, max_tokens=1000)
        with pytest.raises(DeadlineExceeded, match="rate limit"):
            client.chat.completions.create(**ASK, max_tokens=3000)
    assert [0.1 < call.queued_s < 8 for call in calls] == [True, True, True, False]
    assert len(provider.seen) == 3


def test_the_adaptive_limit_follows_the_provider(provider, make, key):
    """Rate limits lower it, and good answers that use it raise it again."""
    policy = Policy(cache=None, retry=None, limits=Limits(concurrency="adaptive"))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            destinations = client._client._transport.driver.pipeline.fetcher.attempts.destinations
            await client.chat.completions.create(**ASK)
            (permits,) = [destination.permits for destination in destinations.all()]
            found = [permits.limit]
            for status in (429, 200):
                provider.usual = lambda seen, status=status: make.answer(status, make.completion())
                calls = (client.chat.completions.create(**ASK, seed=number) for number in range(100))
                await asyncio.gather(*calls, return_exceptions=True)
                found.append(permits.limit)
            return found

    start, low, high = asyncio.run(main())
    assert low < 0.8 * start
    assert high > low


def test_hedges_are_retries_and_give_their_permits_back(provider, make, key):
    """A hedge needs a retry from the budget and a permit; without either there is no hedge."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.2)

    async def sent(calls, **change):
        policy = Policy(cache=None, **{"limits": Limits(hedge_after_s=0.05, concurrency=2), **change})
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            before = len(provider.seen)
            for _ in range(calls):
                await client.chat.completions.create(**ASK)
            assert client._client._transport.driver.pipeline.fetcher.attempts.permits.in_flight == 0
            return len(provider.seen) - before

    assert asyncio.run(sent(3)) == 6
    assert asyncio.run(sent(3, retry=Retry(budget=0.0, budget_burst=1))) == 4
    assert asyncio.run(sent(3, limits=Limits(hedge_after_s=0.05, concurrency=1))) == 3


def test_an_exhausted_quota_goes_to_the_fallback(simulator, provider, key, monkeypatch):
    """An exhausted quota is tried once, and the fallback answers."""
    monkeypatch.setenv("OTHER_KEY", "other")
    simulator.faults({"kind": "quota"})
    policy = Policy(fallbacks=(Fallback(base_url=provider.url, api_key_env="OTHER_KEY"),))
    with OpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
        assert client.chat.completions.create(**ASK).choices
    assert simulator.requests == len(provider.seen) == 1


def test_a_slow_answer_is_hedged(provider, make, key):
    """After 0.1 s a second request is sent and its answer is taken; the threaded client refuses to hedge."""
    provider.answers = [make.answer(body=make.completion("slow"), delay_s=60)]
    provider.usual = lambda seen: make.answer(body=make.completion("quick"))
    calls = []
    policy = Policy(cache=None, limits=Limits(hedge_after_s=0.1), hooks=(calls.append,))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            return (await client.chat.completions.create(**ASK)).choices[0].message.content

    began = time.perf_counter()
    assert asyncio.run(main()) == "quick"
    assert time.perf_counter() - began < 30
    assert calls[0].attempts == 2
    with pytest.raises(ValueError, match="asynchronous"):
        OpenAI(api_key=key, base_url=provider.url, policy=policy)


def test_fallbacks_are_asked_in_order_and_kept_under_what_was_asked(provider, make, key, monkeypatch):
    """When a model fails the next is tried; its answer has a key of its own, and no credential leaves its origin."""
    monkeypatch.setenv("OTHER_KEY", "other")
    tries = []

    def usual(seen):
        tries.append((seen.path, seen.json["model"], seen.headers.get("authorization")))
        good = seen.json["model"] == "gpt-4.1"
        return make.answer(body=make.completion(model="gpt-4.1")) if good else make.answer(500, b"{}")

    provider.usual = usual
    other = provider.url.replace("127.0.0.1", "localhost")
    policy = Policy(
        retry=None,
        fallbacks=(Fallback(model="gpt-4o"), Fallback(model="gpt-4o", base_url=other),
                   Fallback(model="gpt-4.1", base_url=other, api_key_env="OTHER_KEY")),
    )  # fmt: skip
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        first = client.chat.completions.with_raw_response.create(**ASK)
        assert first.parse().model == "gpt-4.1"
        mine, path = f"Bearer {key}", "/v1/chat/completions"
        assert tries == [(path, "gpt-4o-mini", mine), (path, "gpt-4o", mine), (path, "gpt-4o", None),
                         (path, "gpt-4.1", "Bearer other")]  # fmt: skip
        second = client.chat.completions.with_raw_response.create(**ASK)
        assert second.parse().model == "gpt-4.1"
        assert len(tries) == 7, "the first three are asked again, the last comes from the cache"
        provider.usual = lambda seen: make.answer(body=make.completion(model="gpt-4o-mini"))
        assert client.chat.completions.create(**ASK).model == "gpt-4o-mini"


def test_a_fallback_that_refuses_is_passed_over(provider, make, key, monkeypatch):
    """A fallback without the model, or with a wrong key, is passed over; a refusal by the first model is final."""
    refusing = {"gpt-4o-mini": 500, "gone": 404, "locked": 401}

    def usual(seen):
        status = refusing.get(seen.json["model"])
        return make.answer(status, b"{}") if status else make.answer(body=make.completion(model="gpt-4o"))

    provider.usual = usual
    fallbacks = tuple(Fallback(model=model) for model in ("gone", "locked", "gpt-4o"))
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(retry=None, fallbacks=fallbacks)) as client:
        assert client.chat.completions.create(**ASK).model == "gpt-4o"
        refusing["gpt-4o-mini"] = 400
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(**ASK, seed=1)
    monkeypatch.delenv("OTHER_KEY", raising=False)
    with pytest.raises(ValueError, match="OTHER_KEY is not set"):
        OpenAI(api_key=key, policy=Policy(fallbacks=(Fallback(model="gpt-4o", api_key_env="OTHER_KEY"),)))


def test_a_spend_limit_reserves_before_and_settles_after(provider, make, key):
    """A call that could cost too much is not sent; a cheap one gives back the rest of its reservation."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.1)
    worst = 4096 * 0.60e-6
    policy = Policy(cache=None, spend=Spend(max_usd=worst * 2.5))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            at_once = await asyncio.gather(
                *(client.chat.completions.create(**ASK, seed=n) for n in range(4)), return_exceptions=True
            )
            after = await client.chat.completions.create(**ASK)
            with pytest.raises(PriceUnknown, match="not known"):
                await client.chat.completions.create(**{**ASK, "model": "my-own-7b"})
            return at_once, after, client._client._transport.driver.pipeline.ledger.spend_limiter.spent_usd()

    at_once, after, spent = asyncio.run(main())
    assert sum(isinstance(answer, BudgetExceeded) for answer in at_once) == 2
    assert after.choices
    assert spent == pytest.approx(3 * (10 * 0.15e-6 + 5 * 0.6e-6))


def test_an_input_that_is_refused_is_not_sent(provider, key):
    """The guard raises before anything is sent; the APIError names the place, not the text."""
    bad = [{"role": "user", "content": "secret\u202etext"}]
    with OpenAI(api_key=key, base_url=provider.url) as client, pytest.raises(InputRejected) as caught:
        client.chat.completions.create(**{**ASK, "messages": bad})
    assert caught.value.where == "messages[0].content"
    assert isinstance(caught.value, openai.APIError)
    assert "secret" not in str(caught.value)
    assert provider.seen == []
