"""Attempts: what they take and give back, with a scripted sender and a clock of the test's."""

import asyncio
import gc
import time

import orjson
import pytest

from tailrace import Breaker, Limits, Policy, Retry, limits
from tailrace.client import AsyncDriver, CircuitOpen, DeadlineExceeded, Driver, wire
from tailrace.client.call.effects import Send
from tailrace.client.call.pipeline import Pipeline
from tailrace.client.clock import Clock
from tailrace.headers import ATTEMPTS

ASKED = wire.Request("POST", "http://h/v1/chat/completions", (), orjson.dumps({"model": "m", "messages": []}))
JSON = (("content-type", "application/json"),)
GOOD = orjson.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}]})


def answered(status=200, body=GOOD):
    return wire.Response(status, JSON, body)


@pytest.mark.parametrize("gives_up", [True, False])
def test_a_probe_that_is_never_made_is_anothers_to_make(gives_up):
    """When the call that has the probe gives up while it waits for its turn, the next call makes the probe.

    Negative control: while the probe is under way, the next call is refused.
    """
    now, statuses, within = [time.perf_counter()], [500, 500], []

    def send(_request):
        if not statuses and not gives_up and not within:  # somebody else comes while the probe is under way
            within.append(1)
            with pytest.raises(CircuitOpen):
                driver(ASKED)
        return answered(statuses.pop(0), b"{}") if statuses else answered()

    def sleep(seconds):
        now[0] += seconds

    rules = Limits(requests_per_min=6, breaker=Breaker(min_calls=2, open_s=5))
    policy = Policy(cache=None, retry=None, limits=rules)
    driver = Driver(policy, send, clock=Clock(monotonic=lambda: now[0]), sleep=sleep)
    assert [driver(ASKED).status for _ in range(2)] == [500, 500]
    with pytest.raises(CircuitOpen):
        driver(ASKED)
    now[0] += 5.1
    if gives_up:
        with limits(deadline_s=1), pytest.raises(DeadlineExceeded, match="rate limit") as caught:
            driver(ASKED)
        assert caught.value.waited_for == "rate"
        assert 1 < caught.value.retry_after_s <= 10
    assert driver(ASKED).status == 200
    assert len(within) == (not gives_up)


@pytest.mark.parametrize(("concurrency", "status"), [(1, 200), (2, 500)])
def test_a_hedge_for_which_there_is_no_permit_costs_no_retry(concurrency, status):
    """Without a permit for the hedge the retry budget stays untouched; with one, the hedge has used it up."""
    statuses = [200] * concurrency

    async def send(_request):
        await asyncio.sleep(0.05)
        return answered(statuses.pop(0)) if statuses else answered()

    async def main():
        rules = Limits(concurrency=concurrency, hedge_after_s=0.01)
        retry = Retry(attempts=2, base_s=0.001, budget=0.0, budget_burst=1)
        driver = AsyncDriver(Policy(cache=None, limits=rules, retry=retry), send)
        assert (await driver(ASKED)).status == 200
        statuses[:] = [500]
        return (await driver(ASKED)).status, driver.pipeline.fetcher.attempts.permits.in_flight

    assert asyncio.run(main()) == (status, 0)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"{", b"\xff"])
def test_an_answer_that_cannot_be_read_is_asked_for_again(body):
    """An answer that is cut, not text, or nested too deep for any parser counts as no answer."""
    bodies = [body, GOOD]
    driver = Driver(Policy(cache=None, retry=Retry(base_s=0.001)), lambda _: answered(body=bodies.pop(0)))
    response = driver(ASKED)
    assert response.body == GOOD
    assert wire.header(response.headers, ATTEMPTS) == "2"


EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": null}]}\n\n'


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("failures", [0, 1])
def test_a_stream_that_is_forgotten_after_a_retry_gives_its_permit_back_at_once(failures, held):
    """It does not wait for the garbage collector, which nothing would trigger while all calls wait for that permit.

    Negative control: a stream that is still held holds its permit.
    """
    outcomes = [wire.Unanswered("connection", "reset")] * failures

    async def send(_request):
        if outcomes:
            raise outcomes.pop()

        async def words():
            for _ in range(9):
                yield EVENT

        return wire.Response(200, (("content-type", "text/event-stream"),), words())

    async def main():
        rules = Limits(concurrency=1, deadline_s=0.2, breaker=None)
        driver = AsyncDriver(Policy(cache=None, limits=rules, retry=Retry(attempts=2, base_s=0.001)), send)
        stream = (await driver(ASKED)).body
        assert await anext(stream) == EVENT
        if not held:
            del stream
        return [chunk async for chunk in (await driver(ASKED)).body]

    gc.disable()
    try:
        if held:
            with pytest.raises(DeadlineExceeded, match="permit") as caught:
                asyncio.run(main())
            assert (caught.value.waited_for, caught.value.retry_after_s) == ("permit", None)
        else:
            assert len(asyncio.run(main())) == 9
    finally:
        gc.enable()


@pytest.mark.parametrize(("argument", "hedged"), [({"conversation": "conv_1"}, False), ({"conversation": None}, True)])
def test_a_turn_of_a_conversation_is_never_hedged(argument, hedged):
    """A second copy of a turn would be another turn; of a question, the control, it is only a faster answer."""
    asked = wire.Request("POST", "http://h/v1/responses", (), orjson.dumps({"model": "m", "input": "yes", **argument}))
    assert (first_send(asked).hedge is not None) is hedged


def test_an_upload_is_never_hedged():
    """Two copies would read one file at once, and upload it twice; one without a body, the control, may be."""
    url, upload = "http://h/v1/files", wire.Upload(rewind=lambda: True)
    assert first_send(wire.Request("POST", url, (), b"", upload=upload)).hedge is None
    assert first_send(wire.Request("POST", url, (), b"")).hedge is not None


def first_send(asked):
    """Return the first effect of a call, which sends `asked`."""
    policy = Policy(cache=None, limits=Limits(hedge_after_s=1, breaker=None))
    effect = Pipeline(policy, Clock(), asyncio.Event).run(asked).send(None)
    assert isinstance(effect, Send)
    return effect


def waits(asynchronous, retry_after, deadline_s=None):
    """Return the waits between the attempts of one call to a provider that always gives this `Retry-After`."""
    now, slept = [0.0], []
    refusal = wire.Response(429, (*JSON, ("retry-after", retry_after)), b"{}")
    clock = Clock(lambda: now[0], lambda: 2e9 + now[0], lambda: 0.5)

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    async def asend(_request):
        return refusal

    async def asleep(seconds):
        sleep(seconds)

    policy = Policy(cache=None, limits=Limits(deadline_s=deadline_s, breaker=None))
    if asynchronous:
        asyncio.run(AsyncDriver(policy, asend, clock=clock, sleep=asleep)(ASKED))
    else:
        Driver(policy, lambda _request: refusal, clock=clock, sleep=sleep)(ASKED)
    return slept


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("value", ["0", "0.0", "-5", "soon", "", "nan", "Wed, 21 Oct 2015 07:28:00 GMT", "0.001"])
def test_a_retry_after_that_says_nothing_leaves_the_backoff(asynchronous, value):
    """At half its range, the jittered backoff waits 0.25, 0.5 and 1 s. Negative control: a real demand is honoured."""
    assert waits(asynchronous, value) == pytest.approx([0.25, 0.5, 1.0])
    assert all(3 < wait_s < 3.4 for wait_s in waits(asynchronous, "3"))


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("retry_after", "deadline_s", "attempts"),
    [("62", None, 4), ("120", None, 4), ("121", None, 1), ("1e999", None, 1), ("62", 300, 4), ("62", 62.01, 2),
     ("62", 62, 1), ("62", 30, 1)],
)  # fmt: skip
def test_a_demanded_wait_is_made_as_the_sdk_makes_it(asynchronous, retry_after, deadline_s, attempts):
    """Up to two minutes, and as long as the deadline allows; a longer one ends the call at once, without any wait."""
    slept = waits(asynchronous, retry_after, deadline_s=deadline_s)
    assert len(slept) == attempts - 1
    assert deadline_s is None or sum(slept) < deadline_s
