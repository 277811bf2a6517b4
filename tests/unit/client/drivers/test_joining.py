"""Who shares the answer to another call: only those who begin while it is on its way; and how they are booked."""

import asyncio
import gc
import threading

import orjson
import pytest
from tests.unit.client.simulation import Shared

from tailrace import Cache, Limits, Policy, limits
from tailrace.client import AsyncDriver, DeadlineExceeded, Driver, wire
from tailrace.client.drivers import single_flight
from tailrace.client.response.streams import aclose

STREAMED = (("content-type", "text/event-stream"),)
PLAIN = (("content-type", "application/json"),)
MODEL = "gpt-4o-mini"


def request(stream):
    body = {"model": MODEL, "temperature": 0, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return wire.Request("POST", "http://h/v1/chat/completions", (), orjson.dumps(body))


def event(text, reason=None):
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    usage = {"prompt_tokens": 9, "completion_tokens": 2} if reason else None
    return b"data: %b\n\n" % orjson.dumps({"model": MODEL, "choices": [choice], "usage": usage})


DONE = b"data: [DONE]\n\n"
ENDINGS = {
    "good": [event("a"), event("", "stop"), DONE],
    "cut": [event("a"), event("b")],
    "broken": [event("a"), wire.Unanswered("connection", "reset")],
    "an error": [event("a"), b'data: {"error": {"message": "no"}}\n\n', DONE],
    "too long": [event("a"), event("", "length"), DONE],
    "filtered": [event("a"), event("", "content_filter"), DONE],
    "without a token": [event("", "stop"), DONE],
}
FAILED = {"cut": "cut_stream", "broken": "cut_stream", "an error": "error_event", "without a token": "empty_answer"}


class Provider:
    """Answers with streams of `endings` in turn; before the last part of each it waits for `gate`."""

    def __init__(self, *endings):
        self.endings, self.sent, self.gate = list(endings), 0, asyncio.Event()
        self.gate.set()

    async def __call__(self, _):
        self.sent += 1
        return wire.Response(200, STREAMED, self.stream(ENDINGS[self.endings.pop(0)]))

    async def stream(self, parts):
        for number, part in enumerate(parts):
            if number == len(parts) - 1:
                await self.gate.wait()
            if isinstance(part, Exception):
                raise part
            yield part


async def read(driver, most=None, leave=True):
    """Return what a caller reads, at most `most` parts, and how it ends."""
    parts, body = [], (await driver(request(True))).body
    try:
        async for part in body:
            parts.append(part)
            if part == DONE or len(parts) == most:
                break
    except Exception as error:
        parts.append(type(error).__name__)
    if leave:
        await aclose(body)
    return parts


async def again(ending):
    """Return how many requests two calls make, the second of which begins when the first has read its answer."""
    provider = Provider(ending, "good")
    provider.gate.clear()
    driver = AsyncDriver(Policy(retry=None), provider)

    async def twice():
        await read(driver)
        return await read(driver)

    both = asyncio.create_task(twice())
    for _ in range(20):  # until the first reader waits for the end, which then wakes him in the turn of the loop
        await asyncio.sleep(0)
    provider.gate.set()
    assert await both == ENDINGS["good"]
    return provider.sent


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_call_after_an_answer_asks_for_itself(ending):
    """Only a good answer serves the next call; what was cut, failed or too long is asked for again."""
    assert asyncio.run(again(ending)) == (1 if ending == "good" else 2)


@pytest.mark.parametrize("ending", ["cut", "broken", "too long"])
def test_a_flight_that_has_ended_would_be_joined(monkeypatch, ending):
    """Negative control: without the rule, the next call gets the answer that had ended before it began."""
    monkeypatch.setattr(single_flight._Flight, "joinable", True)
    with pytest.raises(AssertionError):
        asyncio.run(again(ending))


def test_an_error_in_a_stream_that_goes_on_is_given_to_nobody_else():
    """A stream in which an error has passed is joined no more, although it has not ended."""

    async def main():
        provider = Provider("an error", "good")
        provider.gate.clear()
        driver = AsyncDriver(Policy(retry=None), provider)
        first = asyncio.create_task(read(driver, most=2))
        await first
        provider.gate.set()
        return await read(driver), provider.sent

    assert asyncio.run(main()) == (ENDINGS["good"], 2)


async def joined(ending, act):
    """Return the rows of a call and of one that joins its stream, whose reader does `act`, by their label."""
    rows, provider = [], Provider(ending)
    provider.gate.clear()
    driver = AsyncDriver(Policy(retry=None, hooks=(rows.append,)), provider)
    first = asyncio.create_task(read(driver))
    await asyncio.sleep(0)
    second = asyncio.create_task(act(driver))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not [row for row in rows if row.cache == "miss"], "it is on its way"
    provider.gate.set()
    await asyncio.gather(first, second)
    assert provider.sent == 1
    return driver, provider, rows


@pytest.mark.parametrize("ending", ENDINGS)
def test_who_joined_is_booked_as_what_he_got(ending):
    """A call that joined a stream is booked at its end, with the failure that it then shows."""
    _, _, rows = asyncio.run(joined(ending, read))
    miss, other = sorted(rows, key=lambda row: row.cache != "miss")
    assert (miss.cache, other.cache) == ("miss", "coalesced")
    assert (other.outcome, other.error_type) == (("error", FAILED[ending]) if ending in FAILED else ("ok", ""))
    assert (other.outcome, other.error_type) == (miss.outcome, miss.error_type)
    assert other.saved_usd == miss.cost_usd
    assert (other.attempts, other.cost_usd) == (0, 0.0)


def test_who_joined_and_left_is_booked_as_cancelled():
    """A reader who leaves before the end is cancelled; the stream goes on for the others."""
    _, _, rows = asyncio.run(joined("good", lambda driver: read(driver, most=1)))
    assert sorted((row.cache, row.outcome) for row in rows) == [("coalesced", "cancelled"), ("miss", "ok")]


def test_who_joined_and_was_collected_is_booked_with_the_next_call():
    """A stream that was left to the garbage collector is booked once, with the next call."""

    async def main():
        driver, provider, rows = await joined("good", lambda driver: read(driver, most=1, leave=False))
        gc.collect()
        before = [row.cache for row in rows]
        provider.endings.append("good")
        await driver(wire.Request("POST", "http://h/v1/chat/completions", (("cache-control", "no-cache"),), b"{}"))
        return before, [(row.cache, row.outcome) for row in rows if row.cache == "coalesced"]

    assert asyncio.run(main()) == (["miss"], [("coalesced", "cancelled")])


def test_who_joined_and_had_no_time_left_is_booked_as_late():
    """A deadline of his own ends the part of one reader, who is booked with it."""

    async def hurried(driver):
        with limits(deadline_s=0.05):
            body = (await driver(request(True))).body
        with pytest.raises(DeadlineExceeded):
            [part async for part in body]

    async def main():
        rows, provider = [], Provider("good")
        provider.gate.clear()
        driver = AsyncDriver(Policy(hooks=(rows.append,), limits=Limits(deadline_s=600)), provider)
        first = asyncio.create_task(read(driver))
        await asyncio.sleep(0)
        await hurried(driver)
        provider.gate.set()
        await first
        return [(row.cache, row.error_type) for row in rows]

    assert asyncio.run(main()) == [("coalesced", "DeadlineExceeded"), ("miss", "")]


class Held(Shared):
    """A store that gives no lease back before `free` is set."""

    slow_put = True

    def __init__(self):
        super().__init__()
        self.free, self.releasing = threading.Event(), threading.Event()

    def lease(self, key, now, seconds):
        return True

    def release(self, key):
        self.releasing.set()
        assert self.free.wait(60)


def plain(status, reason="stop"):
    choice = {"index": 0, "finish_reason": reason, "message": {"content": "hi"}}
    return wire.Response(status, PLAIN, orjson.dumps({"model": MODEL, "choices": [choice]}) if status == 200 else b"{}")


NOT_STORED = [plain(500), plain(429), plain(400), plain(200, "length"), wire.Unanswered("connection", "reset")]


def answered(store, answers):
    """Return a function that gives `answers` in turn, and lets the store go on with the second one."""
    sent = []

    def answer():
        sent.append(1)
        if len(sent) == 2:
            store.free.set()
        result = answers[len(sent) - 1]
        if isinstance(result, Exception):
            raise result
        return result

    return answer, sent


@pytest.mark.parametrize("first", NOT_STORED, ids=["500", "429", "400", "too long", "no answer"])
@pytest.mark.parametrize("kind", ["asyncio", "threads"])
def test_a_call_after_an_answer_that_is_not_stored_asks_for_itself(first, kind):
    """While the first call still gives its lease back, its answer has come: the second call sends its own request."""
    store = Held()
    answer, sent = answered(store, [first, plain(200)])
    policy = Policy(cache=Cache(store=store), retry=None)

    async def sending(_):
        return answer()

    async def main():
        driver = AsyncDriver(policy, sending)
        began = asyncio.create_task(driver(request(False)))
        await asyncio.to_thread(store.releasing.wait, 60)
        second = await driver(request(False))
        await asyncio.gather(began, return_exceptions=True)
        return second

    if kind == "asyncio":
        second = asyncio.run(main())
    else:
        driver = Driver(policy, lambda _: answer())
        began = threading.Thread(target=lambda: _ignored(driver), daemon=True)
        began.start()
        assert store.releasing.wait(60)
        second = driver(request(False))
        began.join(60)
        assert not driver._under_way
    assert (second.status, second.body, len(sent)) == (200, plain(200).body, 2)


def _ignored(driver):
    try:
        driver(request(False))
    except Exception:
        return


@pytest.mark.parametrize("ending", ["cut", "broken", "too long"])
def test_a_process_that_waited_gets_no_cut_answer_of_another(ending):
    """Processes that share a store: who waited for the lease asks for itself when the other's answer was cut."""

    async def main():
        store, provider = Shared(), Provider(ending, "good")
        provider.gate.clear()
        one, other = (AsyncDriver(Policy(cache=Cache(store=store), retry=None), provider) for _ in range(2))
        first = asyncio.create_task(read(one))
        await asyncio.sleep(0)
        second = asyncio.create_task(read(other))
        await asyncio.sleep(0.05)
        assert provider.sent == 1, "it waits"
        provider.gate.set()
        return await first, await second, provider.sent

    _, second, sent = asyncio.run(main())
    assert (second, sent) == (ENDINGS["good"], 2)
