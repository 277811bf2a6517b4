"""Each call is one row in the accounts, however it ends, over real HTTP."""

import asyncio
import threading
import time

import openai
import pytest

from tailrace import AsyncOpenAI, Cache, Guard, Limits, Memory, OpenAI, Policy, Retry, Spend
from tailrace.client import BudgetExceeded, InputRejected

ASK = {"model": "gpt-4o-mini", "temperature": 0, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def told(rows):
    return [(row.cache, row.outcome, row.status, row.attempts) for row in rows]


def ask(asynchronous, provider, key, policy, script):
    """Carry out `script(ask)` with a client of either kind; `ask` returns the answer's headers or the error."""

    def headers(raw):
        return raw.headers["x-tailrace-cache"], raw.headers["x-tailrace-attempts"]

    if not asynchronous:
        with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:

            def one(whole=False, **more):
                try:
                    return headers(client.chat.completions.with_raw_response.create(**ASK, **more))
                except openai.OpenAIError as error:
                    return error if whole else type(error).__name__

            return script(one)

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:

            async def one(whole=False, **more):
                try:
                    return headers(await client.chat.completions.with_raw_response.create(**ASK, **more))
                except openai.OpenAIError as error:
                    return error if whole else type(error).__name__

            loop = asyncio.get_running_loop()
            found = await asyncio.to_thread(
                script, lambda **more: asyncio.run_coroutine_threadsafe(one(**more), loop).result()
            )
            await asyncio.sleep(0.05)  # a flight that ends after its caller has ended too
            return found

    return asyncio.run(main())


FAILURES = {
    "a 500": {"status": 500, "body": b"{}"},
    "a 429": {"status": 429, "body": b"{}"},
    "no connection": {"cut": True},
    "too slow": {"delay_s": 60},
}


@pytest.mark.parametrize("coalesce", [True, False])
@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("failure", FAILURES)
def test_an_old_answer_in_place_of_an_error_is_one_row_with_its_attempts(
    provider, make, key, asynchronous, failure, coalesce
):
    """`stale_if_error_s`: the call succeeds and its row counts the attempts; without a stale answer it fails."""
    rows, store = [], Memory()

    def policy(timeout_s):
        return Policy(
            cache=Cache(store=store, ttl_s=0.05, stale_if_error_s=600, coalesce=coalesce),
            retry=Retry(attempts=2, base_s=0.001), limits=Limits(attempt_timeout_s=timeout_s), spend=Spend(max_usd=1),
            hooks=(rows.append,),
        )  # fmt: skip

    first = ask(asynchronous, provider, key, policy(60), lambda one: one())
    time.sleep(0.1)
    provider.usual = lambda seen: make.answer(**FAILURES[failure])

    def script(one):
        return [one(), one(extra_headers={"cache-control": "max-age=0"})]

    second, third = ask(asynchronous, provider, key, policy(0.2 if failure == "too slow" else 60), script)
    assert first == ("miss", "1")
    assert second == ("stale", "2")
    assert isinstance(third, str), "negative control: who wants none so old gets the error"
    assert told(rows[:2]) == [("miss", "ok", 200, 1), ("stale", "ok", 200, 2)]
    assert [row.outcome for row in rows[2:]] == ["error"]
    assert rows[1].saved_usd == rows[0].cost_usd
    assert rows[1].cost_usd == (0.0 if "status" in FAILURES[failure] else None), "what was sent may have been billed"
    assert len(rows[1].attempts_s) == 2


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_deadline_that_passes_is_one_row(provider, make, key, asynchronous):
    """The caller and the fetch that was made for it are one call."""
    provider.usual = lambda seen: make.answer(delay_s=60)
    for deadline_s in (0.15, 0.6, 2.4, 9.6):  # a longer one when the machine was too busy to send within the last
        rows = []
        policy = Policy(limits=Limits(deadline_s=deadline_s), hooks=(rows.append,))
        assert ask(asynchronous, provider, key, policy, lambda one: one()) == "DeadlineExceeded"
        if provider.seen:
            break
    assert told(rows) == [("miss", "error", 0, 1)]


def test_those_who_wait_for_a_failing_call_are_a_row_each(provider, make, key):
    """Each waiting call is one row; when there is a stale answer, each gets it."""
    rows, joined = [], threading.Event()

    def failing(seen):
        joined.wait(60)
        return make.answer(500, b"{}")

    async def main():
        cache = Cache(ttl_s=0.05, stale_if_error_s=60)
        policy = Policy(cache=cache, retry=None, hooks=(rows.append,))
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            await client.chat.completions.create(**ASK)
            await asyncio.sleep(0.1)
            provider.usual = failing
            create = client.chat.completions.with_raw_response.create
            wanted = [create(**ASK) for _ in range(3)]
            strict = create(**ASK, extra_headers={"cache-control": "max-age=0"})
            asking = asyncio.gather(*wanted, strict, return_exceptions=True)
            await asyncio.sleep(0.2)  # of the loop's own time, in which all of them join
            joined.set()
            return await asking

    *found, strict = asyncio.run(main())
    assert [answer.headers["x-tailrace-cache"] for answer in found] == ["stale"] * 3
    assert isinstance(strict, openai.InternalServerError)
    assert sorted(told(rows)) == sorted(
        [("miss", "ok", 200, 1), *[("stale", "ok", 200, 0)] * 2, ("stale", "ok", 200, 1), ("miss", "error", 500, 1)]
    )


def test_those_who_share_an_old_stream_each_get_all_of_it(provider, make, key):
    """Each caller reads a stored stream from its beginning, also when one fetch found it for all."""

    async def main():
        policy = Policy(cache=Cache(ttl_s=0.05, stale_if_error_s=60), retry=None)
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:

            async def text():
                stream = await client.chat.completions.create(**ASK, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            first = await text()
            await asyncio.sleep(0.1)
            provider.usual = lambda seen: make.answer(500, b"{}", delay_s=0.2)
            return first, await asyncio.gather(*[text() for _ in range(3)])

    first, later = asyncio.run(main())
    assert len(first) > 10
    assert later == [first] * 3
    assert len(provider.seen) == 2


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize(("policy", "error"), [
    (Policy(guard=Guard(max_bytes=10)), InputRejected), (Policy(spend=Spend(max_usd=1e-9)), BudgetExceeded),
])  # fmt: skip
def test_a_refusal_tells_how_long_it_took(provider, key, asynchronous, policy, error):
    """A refused call has no attempts, and the time that the refusal took."""
    found = []

    def script(one):
        began = time.perf_counter()
        refused = one(whole=True)
        found.append((refused, time.perf_counter() - began))

    ask(asynchronous, provider, key, policy, script)
    ((refused, most_s),) = found
    assert type(refused) is error
    assert refused.attempts == 0
    assert 0 < refused.elapsed_s <= most_s
    assert provider.seen == []
