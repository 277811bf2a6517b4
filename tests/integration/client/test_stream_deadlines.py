"""Streams under a deadline or a timeout: too long in all, or stalled."""

import asyncio
import time
from dataclasses import replace

import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, Limits, OpenAI, Policy
from tailrace.client import DeadlineExceeded, TimedOut

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}], "stream": True}
FLOWING = {"flows": 0.1, "stands still": 60.0}
DEADLINES_S = (0.4, 1.6, 6.4, 25.6)
"""Each is tried on a machine that was too busy to begin a stream within the one before."""


def read(kind, http, url, key, policy):
    """Return the chunks of a call, or its error; over our own connections or the caller's HTTP client."""
    chunks, error = read_to_its_end(kind, http, url, key, policy)
    return error or chunks


def read_to_its_end(kind, http, url, key, policy):
    """Return the chunks of a call, and the error that ended it."""
    chunks = []
    given = {} if http == "ours" else {"http_client": httpx2.Client() if kind is OpenAI else httpx2.AsyncClient()}

    async def asynchronous():
        async with AsyncOpenAI(api_key=key, base_url=url, policy=policy, **given) as client:
            async for chunk in await client.chat.completions.create(**ASK):
                chunks.append(chunk)

    def synchronous():
        with OpenAI(api_key=key, base_url=url, policy=policy, **given) as client:
            chunks.extend(client.chat.completions.create(**ASK))

    try:
        synchronous() if kind is OpenAI else asyncio.run(asynchronous())
    except openai.APITimeoutError as error:
        return chunks, error
    return chunks, None


@pytest.fixture
def stream(provider, make):
    """Make the provider send words, usually nine, with a pause between them."""

    def flowing(between_s, words="abcdefghi"):
        provider.usual = lambda seen: make.answer(
            headers={"content-type": "text/event-stream"}, chunks=make.events(*words), between_s=between_s
        )

    return flowing


@pytest.mark.parametrize("http", ["ours", "given"])
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
@pytest.mark.parametrize("between_s", FLOWING.values(), ids=FLOWING.keys())
def test_a_deadline_ends_a_stream_and_says_so(provider, stream, key, kind, http, between_s):
    """Flowing or stalled, with threads or asyncio: DeadlineExceeded, with what was measured, and booked as that."""
    stream(between_s, "abcdefghi" * 100)
    for deadline_s in DEADLINES_S:
        calls, began = [], time.perf_counter()
        policy = Policy(cache=None, limits=Limits(deadline_s=deadline_s), hooks=(calls.append,))
        chunks, error = read_to_its_end(kind, http, provider.url, key, policy)
        if chunks:
            break
    assert chunks
    assert time.perf_counter() - began > 0.75 * deadline_s
    assert type(error) is DeadlineExceeded
    assert f"the deadline of {deadline_s:.3f} s cannot be met: the answer was still streaming" in str(error)
    assert error.attempts == 1
    assert error.elapsed_s >= deadline_s
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


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
@pytest.mark.parametrize("temperature", [0, 1], ids=["shared", "alone"])
def test_a_limit_for_the_first_byte_ends_no_stream_that_flows(provider, stream, key, kind, temperature, monkeypatch):
    """A stream of 1.8 s passes a limit of 1 s for its beginning; the same deadline, the control, ends it."""
    monkeypatch.setitem(ASK, "temperature", temperature)
    stream(0.2)
    passed = read(kind, "ours", provider.url, key, Policy(limits=Limits(first_byte_s=1.0)))
    assert [chunk.choices[0].delta.content for chunk in passed][:9] == list("abcdefghi")
    ended = read(kind, "ours", provider.url, key, Policy(cache=None, limits=Limits(first_byte_s=9.0, deadline_s=1.0)))
    assert type(ended) is DeadlineExceeded
    assert "the deadline of 1.000 s" in str(ended)


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
def test_an_answer_that_does_not_begin_is_late(provider, make, key, kind):
    """The limit for the first byte covers the wait for it, and names itself."""
    provider.usual = lambda seen: make.answer(
        headers={"content-type": "text/event-stream"}, chunks=make.events("a"), delay_s=5.0
    )
    error = read(kind, "ours", provider.url, key, Policy(cache=None, limits=Limits(first_byte_s=0.4, deadline_s=9.0)))
    assert type(error) is DeadlineExceeded
    assert "the deadline of 0.400 s" in str(error)


@pytest.mark.parametrize("http", ["ours", "given"])
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
def test_silence_has_a_limit_of_its_own(provider, stream, key, kind, http):
    """A stream that is silent for longer than `silence_s` has stalled, however long an attempt may take."""
    stream(3.0)
    limits = Limits(attempt_timeout_s=30.0, silence_s=0.3)
    error = read(kind, http, provider.url, key, Policy(cache=None, limits=limits))
    assert isinstance(error, openai.APITimeoutError)
    assert not isinstance(error, DeadlineExceeded)


@pytest.mark.parametrize("http", ["ours", "given"])
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
def test_a_stream_may_be_silent_for_longer_than_its_beginning_may_take(provider, stream, key, kind, http):
    """Negative control: what limits the first byte, or an attempt, does not limit the pauses when silence is longer."""
    stream(0.0)
    flowing = provider.usual(None)
    provider.usual = lambda seen: replace(flowing, chunks=(flowing.chunks[0], *flowing.chunks[1:2]), between_s=1.5)
    limits = Limits(first_byte_s=1.0, attempt_timeout_s=1.0, silence_s=30.0)
    assert len(read(kind, http, provider.url, key, Policy(cache=None, limits=limits))) == 2
