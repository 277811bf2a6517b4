"""Breakers and adaptive limits, one for each origin, credential and model, and a bound on their number."""

import asyncio
import threading

import orjson
import pytest

from tailrace import Breaker, Limits, Policy, Retry
from tailrace.client import AsyncDriver, CircuitOpen, Driver, wire
from tailrace.client.limiters.destinations import MOST, Destinations
from tailrace.client.request import envelope
from tailrace.client.request.parsed import parse

GOOD = orjson.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}]})
JSON = (("content-type", "application/json"),)
FEW = Breaker(min_calls=4, open_s=60)


def request(model="good", key="mine", url="http://h/v1/chat/completions", **headers):
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    body = orjson.dumps({"model": model, "messages": []})
    return wire.Request("POST", url, (("authorization", f"Bearer {key}"), *named), body)


def read(asked):
    return parse(asked, envelope.read(asked))


def answer(asked):
    bad = b'"bad"' in asked.body or "bad" in asked.url or any("bad" in value for _, value in asked.headers)
    return wire.Response(500 if bad else 200, JSON, b"{}" if bad else GOOD)


@pytest.fixture(params=["threads", "asyncio"])
def driven(request):
    """Makes a driver of a policy, blocking or asynchronous, that is called without `await`."""
    if request.param == "threads":
        yield lambda policy: Driver(policy, answer)
        return

    async def send(asked):
        return answer(asked)

    with asyncio.Runner() as runner:

        def made(policy):
            driver = AsyncDriver(policy, send)
            return lambda asked: runner.run(driver(asked))

        yield made


OTHERS = {
    "a model": (request("bad"), request("good")),
    "a key": (request(key="bad"), request(key="mine")),
    "a key under another name": (request(api_key="bad"), request(api_key="good")),
    "an origin": (request(url="http://bad/v1/chat/completions"), request(url="http://h/v1/chat/completions")),
    "a query": (request("bad", url="http://h/v1/chat/completions?key=a"), request("good")),
    "an operation": (request(url="http://h/v1/files/bad"), request(url="http://h/v1/images/generations")),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_broken_for_one_is_not_refused_to_another(what, driven):
    """Failures of one model, key or origin open its own circuit, and no other.

    Negative control: the next call of the same kind is refused.
    """
    broken, healthy = OTHERS[what]
    call = driven(Policy(cache=None, retry=None, limits=Limits(breaker=FEW)))
    assert [call(broken).status for _ in range(4)] == [500] * 4
    with pytest.raises(CircuitOpen):
        call(broken)
    assert [call(healthy).status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize("change", [
    {"user_agent": "b"}, {"idempotency_key": "b"}, {"cookie": "__cf_bm=b"}, {"x_request_id": "b"},
])  # fmt: skip
def test_what_is_no_credential_makes_no_other_destination(change):
    """Headers that differ from call to call leave a destination the same; negative control: a key does not."""
    known = Destinations(Limits(), lambda: 0.0)
    first = known.of(read(request()))
    assert known.of(read(request(**change))) is first
    assert known.of(read(request(x_api_key="other"))) is not first


def test_the_adaptive_limit_of_one_model_is_not_anothers():
    """Overload of one model lowers its own limit only."""
    known = Destinations(Limits(concurrency="adaptive"), lambda: 0.0)
    busy, free = known.of(read(request("busy"))), known.of(read(request("free")))
    for _ in range(3):
        busy.permits.try_acquire()
        busy.permits.release(overloaded=True)
    assert busy.permits.limit < free.permits.limit


def test_the_retries_of_a_model_are_its_own():
    """One model takes all of its retries and none of another's; without a budget there is none."""
    known = Destinations(Limits(breaker=None), lambda: 0.0, Retry(budget=0.0, budget_burst=2))
    bad, good = (known.of(read(request(name))).retries for name in ("bad", "good"))
    assert [bad.take() for _ in range(4)] == [True, True, False, False]
    assert known.of(read(request("bad"))).retries is bad
    assert [good.take() for _ in range(3)] == [True, True, False]
    for retry in (None, Retry(budget=None)):
        assert Destinations(Limits(), lambda: 0.0, retry).of(read(request("m"))).retries is None


def test_the_number_of_destinations_is_bounded():
    """Names of models come from callers: of ten thousand, at most the bound is kept, and none holds a long name."""
    known = Destinations(Limits(breaker=FEW), lambda: 0.0)
    for number in range(10_000):
        known.of(read(request(f"m{number}" + "x" * 500)))
    assert len(known) <= MOST
    assert max(len(name) for _, _, name in known._known) == 128


def test_open_circuits_and_those_in_use_are_forgotten_last():
    """A flood of invented models neither closes an open circuit nor drops the one that is used; an idle one goes."""
    now = [0.0]
    known = Destinations(Limits(breaker=FEW), lambda: now[0])
    opened, used, idle = (known.of(read(request(name))) for name in ("opened", "used", "idle"))
    for _ in range(4):
        opened.breaker.report(True)
    for number in range(3 * MOST):
        now[0] += 0.001
        used.used_at = now[0]
        known.of(read(request(f"m{number}")))
    assert known.of(read(request("opened"))) is opened
    assert known.of(read(request("used"))) is used
    assert known.of(read(request("idle"))) is not idle


def test_threads_that_come_at_once_share_one_destination():
    """Eight threads that ask for a new model at the same moment get the same state."""
    known, found, start = Destinations(Limits(), lambda: 0.0), [], threading.Barrier(8)

    def look():
        start.wait()
        found.append(known.of(read(request())))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
