"""Streams under a deadline or a timeout: too long in all, or stalled."""

import asyncio
import time

import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, Limits, OpenAI, Policy
from tailrace.client import DeadlineExceeded, TimedOut

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}], "stream": True}
FLOWING = {"flows": 0.1, "stands still": 3.0}


def read(kind, http, url, key, policy):
    """Return the chunks of a call, or its error; over our own connections or the caller's HTTP client."""
    given = {} if http == "ours" else {"http_client": httpx2.Client() if kind is OpenAI else httpx2.AsyncClient()}

    async def asynchronous():
        async with AsyncOpenAI(api_key=key, base_url=url, policy=policy, **given) as client:
            return [chunk async for chunk in await client.chat.completions.create(**ASK)]

    def synchronous():
        with OpenAI(api_key=key, base_url=url, policy=policy, **given) as client:
            return list(client.chat.completions.create(**ASK))

    try:
        return synchronous() if kind is OpenAI else asyncio.run(asynchronous())
    except openai.APITimeoutError as error:
        return error


@pytest.fixture
def stream(provider, make):
    """Make the provider send nine words with a pause between them."""

    def flowing(between_s):
        provider.usual = lambda seen: make.answer(
            headers={"content-type": "text/event-stream"}, chunks=make.events(*"abcdefghi"), between_s=between_s
        )

    return flowing


@pytest.mark.parametrize("http", ["ours", "given"])
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
@pytest.mark.parametrize("between_s", FLOWING.values(), ids=FLOWING.keys())
def test_a_deadline_ends_a_stream_and_says_so(provider, stream, key, kind, http, between_s):
    """Flowing or stalled, with threads or asyncio: DeadlineExceeded, with what was measured, and booked as that."""
    stream(between_s)
    calls, began = [], time.perf_counter()
    policy = Policy(cache=None, limits=Limits(deadline_s=0.4), hooks=(calls.append,))
    error = read(kind, http, provider.url, key, policy)
    assert time.perf_counter() - began > 0.3
    assert type(error) is DeadlineExceeded
    assert "the deadline of 0.400 s cannot be met: the answer was still streaming" in str(error)
    assert error.attempts == 1
    assert error.elapsed_s >= 0.4
    assert [call.error_type for call in calls] == ["DeadlineExceeded"]


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
@pytest.mark.parametrize("limits", [Limits(attempt_timeout_s=0.4), Limits(attempt_timeout_s=0.4, deadline_s=9)])
def test_an_attempts_time_ends_a_stream_that_stands_still(provider, stream, key, kind, limits):
    """Negative control: with time left until the deadline, or without one, it is TimedOut."""
    stream(1.0)
    calls, began = [], time.perf_counter()
    error = read(kind, "ours", provider.url, key, Policy(cache=None, limits=limits, hooks=(calls.append,)))
    assert time.perf_counter() - began > 0.3
    assert type(error) is TimedOut
    assert "the stream stalled" in str(error)
    assert "deadline" not in str(error)
    assert [call.error_type for call in calls] == ["unanswered_timeout"]


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
def test_an_attempts_time_ends_no_stream_that_flows(provider, stream, key, kind):
    """The timeout holds between chunks: nine words in 0.9 s are all read with a timeout of 0.4 s."""
    stream(0.1)
    found = read(kind, "ours", provider.url, key, Policy(cache=None, limits=Limits(attempt_timeout_s=0.4)))
    assert [chunk.choices[0].delta.content for chunk in found][:9] == list("abcdefghi")


def test_a_shared_stream_that_a_deadline_ended_is_booked_as_that(provider, stream, key):
    """A shared stream ends at the deadline of the call that began it."""
    stream(3.0)
    calls = []

    async def main():
        policy = Policy(limits=Limits(deadline_s=0.3), hooks=(calls.append,))
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            with pytest.raises(DeadlineExceeded):
                [chunk async for chunk in await client.chat.completions.create(**ASK)]
            await asyncio.sleep(0.4)

    asyncio.run(main())
    assert [call.error_type for call in calls] == ["DeadlineExceeded"]
