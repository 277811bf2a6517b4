"""Retries, deadlines, single-flight, limits, fallbacks and spend over real HTTP."""

import asyncio
import time

import openai
import orjson
import pytest

from tailrace import AsyncOpenAI, Breaker, Cache, Fallback, Limits, Memory, OpenAI, Policy, Retry, Spend, Sqlite, limits
from tailrace.client import BudgetExceeded, CircuitOpen, ConnectionFailed, DeadlineExceeded, InputRejected, TimedOut

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
QUICK = Retry(base_s=0.01, cap_s=0.05)


@pytest.fixture
def client(simulator, key):
    """A client of the simulator with quick retries, that tells its calls to `client.calls`."""
    calls = []
    policy = Policy(cache=None, retry=QUICK, limits=Limits(attempt_timeout_s=0.5, breaker=None), hooks=(calls.append,))
    with OpenAI(api_key=key, base_url=simulator.url, policy=policy) as made:
        made.calls = calls
        yield made


RETRIED = [{"kind": "rate_limit", "retry_after_s": 0}, {"kind": "error500"}, {"kind": "error503"}, {"kind": "hang"},
           {"kind": "reset"}]  # fmt: skip


@pytest.mark.parametrize("fault", RETRIED, ids=[fault["kind"] for fault in RETRIED])
@pytest.mark.parametrize("stream", [False, True])
def test_what_may_be_another_next_time_is_asked_again(client, simulator, fault, stream):
    """429, 500, 503, a hang and a reset are retried, streams before their first byte too, and told in the headers."""
    simulator.faults({**fault, "count": 2})
    answer = client.chat.completions.with_raw_response.create(**ASK, stream=stream)
    assert answer.headers["x-tailrace-attempts"] == "3"
    assert not stream or len(list(answer.parse())) > 3
    assert simulator.requests == 3
    assert client.calls[-1].attempts == 3
    assert client.calls[-1].outcome == "ok"


NOT_RETRIED = [({"kind": "quota"}, openai.RateLimitError, 1), ({"kind": "error500"}, openai.InternalServerError, 4),
               ({"kind": "reset"}, ConnectionFailed, 4)]  # fmt: skip


@pytest.mark.parametrize(("fault", "error", "attempts"), NOT_RETRIED, ids=["quota", "always 500", "always reset"])
def test_what_stays_the_same_is_raised_as_the_sdk_raises_it(client, simulator, fault, error, attempts):
    """An exhausted quota is tried once, never for minutes; the others as often as the policy says, then they raise."""
    simulator.faults(fault)
    with pytest.raises(error) as caught:
        client.chat.completions.create(**ASK)
    assert simulator.requests == attempts
    assert client.calls[-1].outcome == "error"
    assert client.calls[-1].attempts == attempts
    if error is ConnectionFailed:
        assert isinstance(caught.value, openai.APIConnectionError)
        assert caught.value.attempts == 4
        assert caught.value.elapsed_s > 0
        assert caught.value.__cause__ is not None


def test_a_stream_is_not_asked_again_after_its_first_byte(client, simulator):
    """A stream that breaks while it is read is an error to the reader; nobody asks a second time."""
    simulator.faults({"kind": "cut_stream"})
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(**ASK, stream=True))
    assert simulator.requests == 1
    assert client.calls[-1].outcome == "error"


def test_each_attempt_has_its_own_time(client, simulator):
    """A provider that hangs costs the attempt's timeout each time, and then raises the SDK's timeout."""
    simulator.faults({"kind": "hang"})
    began = time.perf_counter()
    with pytest.raises(TimedOut) as caught:
        client.with_options(timeout=60).chat.completions.create(**ASK)
    assert isinstance(caught.value, openai.APITimeoutError)
    assert 1.9 < time.perf_counter() - began < 3.5


@pytest.mark.parametrize("kind", ["hang", "rate_limit", "slow"])
def test_the_deadline_holds_waiting_and_all(simulator, key, kind):
    """With 0.5 s in all, the call ends by then, however the provider wastes the time, in both forms of the client."""
    simulator.faults({"kind": kind, **({"retry_after_s": 0.3} if kind == "rate_limit" else {})})
    policy = Policy(cache=None, retry=Retry(attempts=100, base_s=0.05, budget=None), limits=Limits(deadline_s=0.5))
    expected = openai.RateLimitError if kind == "rate_limit" else DeadlineExceeded

    async def asynchronous():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
            await client.chat.completions.create(**ASK)

    def synchronous():
        with OpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
            client.chat.completions.create(**ASK)

    for run in (synchronous, lambda: asyncio.run(asynchronous())):
        began = time.perf_counter()
        with pytest.raises(expected):
            run()
        assert time.perf_counter() - began < 1.5


def test_a_wait_that_does_not_fit_fails_now(provider, make, key):
    """When the provider asks to wait beyond the deadline, its answer is given at once; nobody sleeps for nothing."""
    provider.usual = lambda seen: make.answer(429, b"{}", {"retry-after": "20"})
    with OpenAI(api_key=key, base_url=provider.url) as client:
        began = time.perf_counter()
        with limits(deadline_s=5), pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**ASK)
        assert time.perf_counter() - began < 2
    assert len(provider.seen) == 1


def test_the_idempotency_key_is_the_same_on_every_attempt(provider, make, key):
    """All attempts of a call carry one key, two calls carry two, and a caller's own is kept."""
    provider.answers = [make.answer(500, b"{}"), make.answer(500, b"{}")]
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=None, retry=QUICK)) as client:
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK, extra_headers={"Idempotency-Key": "mine"})
    keys = [seen.headers["idempotency-key"] for seen in provider.seen]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[4] == "mine"


def test_an_outage_does_not_multiply(provider, make, key):
    """With a budget, 100 calls that all fail make about 130 attempts, not 400."""
    provider.usual = lambda seen: make.answer(500, b"{}")
    policy = Policy(cache=None, retry=Retry(base_s=0.001, cap_s=0.002))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for _ in range(100):
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(**ASK)
    assert 120 <= len(provider.seen) <= 135


def test_the_sdks_own_retries_are_off_or_warned_of(simulator, key):
    """The SDK retries nothing; who turns it on is told how many attempts that makes."""
    with OpenAI(api_key=key, base_url=simulator.url) as client:
        assert client.max_retries == 0
        with pytest.warns(RuntimeWarning, match="12 attempts"):
            client.with_options(max_retries=2)


def test_1000_cold_calls_at_once_are_one_request(simulator, key):
    """A stampede of 1,000 identical calls reaches the provider once, retries included."""
    simulator.faults({"kind": "error500", "count": 1}, {"kind": "slow", "delay_s": 0.3})

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url, policy=Policy(retry=QUICK)) as client:
            answers = await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(1000)))
        return {answer.model_dump_json() for answer in answers}

    assert len(asyncio.run(main())) == 1
    assert simulator.requests == 2  # the 500 and the answer


def test_without_coalescing_a_stampede_is_a_stampede(simulator, key):
    """Negative control: with single-flight turned off the same calls all go out."""
    simulator.faults({"kind": "slow", "delay_s": 0.3})

    async def main():
        async with AsyncOpenAI(
            api_key=key, base_url=simulator.url, policy=Policy(cache=Cache(coalesce=False))
        ) as client:
            await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(20)))

    asyncio.run(main())
    assert simulator.requests == 20


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_leader_takes_nobodys_answer_away(simulator, key, stream):
    """The first caller is cancelled while the provider works; the others get the answer of that one request."""
    simulator.faults({"kind": "slow", "delay_s": 0.3})

    async def asked(client):
        answer = await client.chat.completions.create(**ASK, stream=stream)
        return len([chunk async for chunk in answer]) if stream else answer.choices[0].message.content

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url) as client:
            leader = asyncio.create_task(asked(client))
            await asyncio.sleep(0.1)
            followers = [asyncio.create_task(asked(client)) for _ in range(5)]
            await asyncio.sleep(0.05)
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            return await asyncio.gather(*followers)

    assert len(set(asyncio.run(main()))) == 1
    assert simulator.requests == 1


def test_who_comes_late_to_a_stream_gets_all_of_it(provider, make, key):
    """A second reader who joins in the middle reads from the first byte, without a second request."""
    stream = make.answer(headers={"content-type": "text/event-stream"}, chunks=make.events(*"abcdefgh"), between_s=0.03)
    provider.usual = lambda seen: stream

    async def read(client):
        answer = await client.chat.completions.create(**ASK, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in answer])
        return answer.response.headers["x-tailrace-cache"], text

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url) as client:
            first = asyncio.create_task(read(client))
            await asyncio.sleep(0.12)
            return await asyncio.gather(first, read(client), read(client))

    assert asyncio.run(main()) == [("miss", "abcdefgh"), ("coalesced", "abcdefgh"), ("coalesced", "abcdefgh")]
    assert len(provider.seen) == 1


def test_a_leaders_deadline_is_not_the_followers(simulator, key):
    """When the leader's short deadline passes, a follower with time asks for himself and is answered."""
    simulator.faults({"kind": "slow", "delay_s": 0.4})

    async def asked(client, deadline_s):
        with limits(deadline_s=deadline_s):
            return await client.chat.completions.create(**ASK)

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url) as client:
            leader = asyncio.create_task(asked(client, 0.2))
            await asyncio.sleep(0.05)
            follower = asyncio.create_task(asked(client, 5))
            with pytest.raises(DeadlineExceeded):
                await leader
            return await follower

    assert asyncio.run(main()).choices


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_processes_that_share_a_store_ask_once(provider, make, key, tmp_path, request, kind):
    """Clients on one SQLite file or one Redis, which know nothing of each other, make one request for one question."""
    from tailrace.client.stores.redis import Redis

    def opened():
        return Sqlite(tmp_path / "c.db") if kind == "sqlite" else Redis(request.getfixturevalue("redis_url"))

    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.3)

    async def main():
        stores = [opened() for _ in range(3)]
        clients = [
            AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) for store in stores
        ]
        answers = await asyncio.gather(*(c.chat.completions.with_raw_response.create(**ASK) for c in clients))
        for client, store in zip(clients, stores, strict=True):
            await client.close()
            store.close()
        return sorted(answer.headers["x-tailrace-cache"] for answer in answers)

    assert asyncio.run(main()) == ["coalesced", "coalesced", "miss"]
    assert len(provider.seen) == 1


def test_the_breaker_opens_on_failures_and_spares_the_provider(simulator, key):
    """After ten failures nobody asks any more, until one probe finds the provider well again."""
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
    """Of 12 calls at once three are with the provider at a time, streams to their end; all are answered."""
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
            return client._client._transport.driver.engine.fetcher._attempts.permits.in_flight

    assert asyncio.run(main()) == 0
    times.sort()
    assert all(later - earlier > 0.06 for earlier, later in zip(times, times[3:], strict=False))


def test_a_permit_is_free_while_its_call_backs_off(provider, make, key):
    """With one permit, a call that waits to retry lets the next one through."""
    provider.answers = [make.answer(500, b"{}", {"retry-after": "0.5"})]

    async def main():
        policy = Policy(cache=None, limits=Limits(concurrency=1))
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            waiting = asyncio.create_task(client.chat.completions.create(**ASK, seed=1))
            await asyncio.sleep(0.2)
            began = time.perf_counter()
            await client.chat.completions.create(**ASK, seed=2)
            took = time.perf_counter() - began
            await waiting
            return took

    assert asyncio.run(main()) < 0.25


def test_requests_per_minute_are_spread(provider, key):
    """At 600 a minute with 100 at once, the 101st call waits its tenth of a second; one without the time fails."""
    policy = Policy(cache=None, limits=Limits(requests_per_min=600))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        rate = client._client._transport.driver.engine.fetcher._attempts._requests
        rate.reserve(100)
        began = time.perf_counter()
        client.chat.completions.create(**ASK)
        assert 0.05 < time.perf_counter() - began < 0.4
        rate.reserve(100)
        with limits(deadline_s=0.5), pytest.raises(DeadlineExceeded, match="rate limit"):
            client.chat.completions.create(**ASK)


def test_a_slow_answer_is_hedged(provider, make, key):
    """After 0.1 s a second request goes out and its answer is taken; a client of threads refuses to try."""
    provider.answers = [make.answer(body=make.completion("slow"), delay_s=1.5)]
    provider.usual = lambda seen: make.answer(body=make.completion("quick"))
    calls = []
    policy = Policy(cache=None, limits=Limits(hedge_after_s=0.1), hooks=(calls.append,))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            return (await client.chat.completions.create(**ASK)).choices[0].message.content

    began = time.perf_counter()
    assert asyncio.run(main()) == "quick"
    assert time.perf_counter() - began < 1
    assert calls[0].attempts == 2
    with pytest.raises(ValueError, match="asynchronous"):
        OpenAI(api_key=key, base_url=provider.url, policy=policy)


def test_fallbacks_are_asked_in_order_and_kept_under_what_was_asked(provider, make, key, monkeypatch):
    """When a model fails another is asked; its answer is kept as its own, and no key leaves its origin."""
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


def test_a_spend_limit_reserves_before_and_settles_after(provider, make, key):
    """What could cost too much is not sent; what was cheaper than feared leaves room for more."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.1)
    worst = 4096 * 0.60e-6
    policy = Policy(cache=None, spend=Spend(max_usd=worst * 2.5))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            at_once = await asyncio.gather(
                *(client.chat.completions.create(**ASK, seed=n) for n in range(4)), return_exceptions=True
            )
            after = await client.chat.completions.create(**ASK)
            with pytest.raises(BudgetExceeded, match="not known"):
                await client.chat.completions.create(**{**ASK, "model": "my-own-7b"})
            return at_once, after, client._client._transport.driver.engine.ledger.purse.spent_usd()

    at_once, after, spent = asyncio.run(main())
    assert sum(isinstance(answer, BudgetExceeded) for answer in at_once) == 2
    assert after.choices
    assert spent == pytest.approx(3 * (10 * 0.15e-6 + 5 * 0.6e-6))


def test_an_input_that_is_refused_is_not_sent(provider, key):
    """The guard raises before anything goes out, an APIError that names the place and not the text."""
    bad = [{"role": "user", "content": "secret\u202etext"}]
    with OpenAI(api_key=key, base_url=provider.url) as client, pytest.raises(InputRejected) as caught:
        client.chat.completions.create(**{**ASK, "messages": bad})
    assert caught.value.where == "messages[0].content"
    assert isinstance(caught.value, openai.APIError)
    assert "secret" not in str(caught.value)
    assert provider.seen == []


def test_the_driver_needs_no_sdk(provider, key):
    """The service's way: bytes in, bytes out, over one shared aiohttp session."""
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
                found.append((wire.header(got.headers, wire.CACHE), whole))
            return found

    found = asyncio.run(main())
    assert [label for label, _ in found] == ["miss", "hit", "miss", "hit"]
    assert found[0][1] == found[1][1]
    assert found[2][1] == found[3][1]


@pytest.mark.parametrize(("cut", "error"), [(True, ConnectionFailed), (False, TimedOut)])
def test_the_drivers_errors_are_the_sdks(provider, make, cut, error):
    """When nothing came back, the driver raises the SDK's errors, with attempts and time."""
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
    """One client works on loop after loop, and one that nobody closes goes without a complaint."""
    import gc

    client = AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=None))
    for _ in range(3):
        assert asyncio.run(client.chat.completions.create(**ASK)).choices
    del client
    gc.collect()
    assert [str(warning.message) for warning in recwarn if "client session" in str(warning.message)] == []


def test_on_httpx2_and_on_aiohttp_it_is_the_same(simulator, key):
    """The lean way and the SDK's own transport give the same answers, streams and errors."""

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
    """A blocking client is held to the attempt's time even by a provider that trickles its answer."""
    slow = make.answer(chunks=tuple(make.completion()[at : at + 8] for at in range(0, 320, 8)), between_s=0.05)
    provider.usual = lambda seen: slow
    policy = Policy(cache=None, retry=None, limits=Limits(attempt_timeout_s=0.3))
    began = time.perf_counter()
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client, pytest.raises(TimedOut):
        client.chat.completions.create(**ASK)
    assert time.perf_counter() - began < 1
