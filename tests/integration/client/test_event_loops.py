"""One async client on several event loops, over real HTTP."""

import asyncio
import gc
import logging
import threading

import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, Limits, Policy, async_transport
from tailrace.client import WrongEventLoop
from tailrace.client import openai as clients

THREADS, CALLS = 3, 6
left_open = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
"""For connections that a caller's own client, or the plain SDK, leaves on a loop that was closed."""


@pytest.fixture(autouse=True)
def _collected(request):
    """Collect what a test leaves open while its filters of warnings hold."""
    yield
    if request.node.get_closest_marker("filterwarnings"):
        gc.collect()


def ask(text):
    return {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": text}]}


def outcomes(client, stream=False):
    """Return how many calls of threads with loops of their own were answered, the errors, and the threads that hang."""
    answered, errors = [], []

    async def one(text):
        answer = await client.chat.completions.create(**ask(text), stream=stream)
        return len([chunk async for chunk in answer]) if stream else answer.choices

    async def many(number):
        calls = [one(f"{number} {call % 4}") for call in range(CALLS)]
        for result in await asyncio.gather(*calls, return_exceptions=True):
            (errors if isinstance(result, BaseException) else answered).append(result)

    threads = [threading.Thread(target=lambda n=n: asyncio.run(many(n)), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return len(answered), errors, sum(thread.is_alive() for thread in threads)


POLICIES = {
    "as it is": Policy(),
    "two permits": Policy(cache=None, limits=Limits(concurrency=2)),
    "adaptive": Policy(limits=Limits(concurrency="adaptive", deadline_s=60)),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@pytest.mark.parametrize("sender", ["aiohttp", "httpx2"])
def test_threads_with_loops_of_their_own_share_a_client(provider, make, key, monkeypatch, policy, stream, sender):
    """Every call is answered, plain or streamed, whichever library sends it, and no thread hangs."""
    if sender == "httpx2":
        monkeypatch.setattr(clients, "_lean_async_sender", lambda: None)
    provider.usual = lambda seen: (
        make.answer(headers={"content-type": "text/event-stream"}, chunks=make.events(*"abc"), between_s=0.002)
        if stream
        else make.answer(body=make.completion(), delay_s=0.01)
    )
    client = AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy)
    assert outcomes(client, stream) == (THREADS * CALLS, [], 0)


def on_loops_in_turn(client, number=4):
    """Return the errors of calls on one loop after the other, each closed before the next."""

    async def one(text):
        try:
            await client.chat.completions.create(**ask(text))
        except Exception as error:
            return error
        return None

    return [asyncio.run(one(str(call))) for call in range(number)]


@left_open
@pytest.mark.parametrize("sender", ["aiohttp", "httpx2"])
def test_one_loop_after_another_uses_a_client(provider, key, monkeypatch, sender):
    """Each `asyncio.run` is answered; negative control: connections of a closed loop fail the plain SDK."""
    if sender == "httpx2":
        monkeypatch.setattr(clients, "_lean_async_sender", lambda: None)
    client = AsyncOpenAI(api_key=key, base_url=provider.url)
    assert on_loops_in_turn(client) == [None] * 4
    assert any(on_loops_in_turn(openai.AsyncOpenAI(api_key=key, base_url=provider.url, max_retries=0)))


def test_a_transport_of_ours_under_a_stock_client_works_on_each_loop(provider, key):
    """`async_transport` without an `inner` opens connections for each loop."""
    http = httpx2.AsyncClient(transport=async_transport(Policy()))
    client = openai.AsyncOpenAI(api_key=key, base_url=provider.url, http_client=http, max_retries=0)
    assert on_loops_in_turn(client) == [None] * 4


@left_open
@pytest.mark.parametrize("kind", [openai.DefaultAsyncHttpxClient, openai.DefaultAioHttpClient])
def test_a_callers_own_client_is_refused_on_a_second_loop(provider, key, kind):
    """The first loop is served; on every other, a call is refused before it is sent, and told what to do."""
    client = AsyncOpenAI(api_key=key, base_url=provider.url, http_client=kind())
    first, *others = on_loops_in_turn(client)
    assert first is None
    assert all(isinstance(error, WrongEventLoop) and "one client for each loop" in str(error) for error in others)
    assert len(provider.seen) == 1


@left_open
def test_a_callers_own_client_that_keeps_no_connections_works_on_each_loop(provider, key):
    """Negative control of the refusal: it is for connections that are left, and there are none."""
    http = openai.DefaultAsyncHttpxClient(limits=httpx2.Limits(max_keepalive_connections=0))
    client = AsyncOpenAI(api_key=key, base_url=provider.url, http_client=http)
    assert on_loops_in_turn(client) == [None] * 4


@left_open
def test_a_client_with_a_policy_that_does_nothing_is_the_plain_sdk(provider, key):
    """Without a policy nothing is refused: the call fails as the SDK fails."""
    nothing = Policy(cache=None, retry=None, guard=None)
    http = openai.DefaultAsyncHttpxClient()
    errors = on_loops_in_turn(AsyncOpenAI(api_key=key, base_url=provider.url, http_client=http, policy=nothing))
    assert any(errors)
    assert not any(isinstance(error, WrongEventLoop) for error in errors)


@left_open
def test_a_loop_that_is_only_closed_causes_no_complaint(provider, key, caplog):
    """A loop that does not shut its generators down leaves a session, which is closed without a word."""
    client = AsyncOpenAI(api_key=key, base_url=provider.url)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        for call in range(3):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(client.chat.completions.create(**ask(str(call))))
            loop.close()
        del client
    assert not [record for record in caplog.records if "Unclosed" in record.getMessage()]


def test_closing_a_client_ends_the_sessions_of_other_loops(provider, key):
    """A client that is closed on one loop has no open session on another one either."""
    client = AsyncOpenAI(api_key=key, base_url=provider.url)
    sender = client._client._transport._send
    asked, closed = threading.Event(), threading.Event()
    sessions = []

    async def other():
        await client.chat.completions.create(**ask("other"))
        sessions.append(sender._sessions.get().opened)
        asked.set()
        await asyncio.to_thread(closed.wait, 60)
        async with asyncio.timeout(60):
            while not sessions[0].closed:  # noqa: ASYNC110 (nobody tells when it is closed)
                await asyncio.sleep(0.01)

    async def this():
        await asyncio.to_thread(asked.wait, 60)
        await client.close()
        closed.set()

    thread = threading.Thread(target=lambda: asyncio.run(other()), daemon=True)
    thread.start()
    asyncio.run(this())
    thread.join(60)
    assert not thread.is_alive()
    assert sessions[0].closed
