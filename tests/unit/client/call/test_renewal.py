"""What a call has reserved in a store stays reserved for as long as it lives; scripted calls, the clock of the test."""

import asyncio

import orjson
import pytest

from tailrace import Limits, Policy, Price, Retry, Spend, Sqlite
from tailrace.client import AsyncDriver, Driver, wire
from tailrace.client.call.renewal import Renewal
from tailrace.client.clock import Clock
from tailrace.client.limiters.spend import SpendLimiter

ASKED = wire.Request("POST", "http://h/v1/chat/completions", (), orjson.dumps({"model": "m", "messages": []}))
STREAM = (("content-type", "text/event-stream"),)
EVENT = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": null}]}\n\n'
END = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
MINUTE_S, MINUTES = 60.0, 40


class World:
    """A call that costs 0.6 of a budget of 1.0, and another process that would spend 0.6 each minute meanwhile."""

    def __init__(self, path, **limits):
        self.now = 0.0
        self.granted = []
        self.clock = Clock(lambda: self.now, lambda: 1e9 + self.now, lambda: 0.5)
        self.spend = Spend(max_usd=1.0, store=Sqlite(path))
        self.policy = Policy(
            cache=None, retry=Retry(attempts=4, base_s=1, max_retry_after_s=1e5), limits=Limits(breaker=None, **limits),
            prices={"m": Price(call=0.6)}, spend=self.spend,
        )  # fmt: skip
        self.other = SpendLimiter(Spend(max_usd=1.0, store=Sqlite(path)), self.clock.wall)

    def pass_a_minute(self):
        self.now += MINUTE_S
        wanted = self.other.reservation("", 0.6)
        if self.other.reserve(wanted).granted:
            self.granted.append(self.now)
            self.other.settle(wanted, 0.0)
            self.other.flush()

    def sleep(self, seconds):
        until = self.now + seconds
        while self.now < until:
            self.pass_a_minute()

    async def asleep(self, seconds):
        self.sleep(seconds)

    def run(self, send, asynchronous):
        """Carry out one call to its end."""
        if not asynchronous:
            driver = Driver(self.policy, send, clock=self.clock, sleep=self.sleep)
            body = driver(ASKED).body
            return body if isinstance(body, bytes) else list(body)

        async def main():
            async def asend(request):
                response = send(request)
                if isinstance(response.body, bytes):
                    return response
                return wire.Response(response.status, response.headers, slowly(response.body))

            async def slowly(body):
                for chunk in body:
                    yield chunk

            driver = AsyncDriver(self.policy, asend, clock=self.clock, sleep=self.asleep)
            body = (await driver(ASKED)).body
            return body if isinstance(body, bytes) else [chunk async for chunk in body]

        return asyncio.run(main())


@pytest.fixture(params=[False, True], ids=["threads", "asyncio"])
def asynchronous(request):
    return request.param


def streams(world):
    def chunks():
        for _ in range(MINUTES):
            world.pass_a_minute()
            yield EVENT
        yield END

    return lambda _request: wire.Response(200, STREAM, chunks())


def is_tried_again(world):
    """Return a sender that fails three times, and each time demands a wait of ten minutes."""
    refusals = [wire.Response(429, (("retry-after", "600"),), b"{}")] * 3

    def send(_request):
        return refusals.pop() if refusals else wire.Response(200, STREAM, iter([EVENT, END]))

    return send


@pytest.mark.parametrize("renewed", [True, False])
@pytest.mark.parametrize("call", [streams, is_tried_again])
def test_a_long_call_keeps_what_it_has_reserved(tmp_path, monkeypatch, asynchronous, call, renewed):
    """No minute of a call of half an hour and more is one in which another process gets its part of the budget.

    Negative control: without a renewal, the other gets it after fifteen minutes.
    """
    world, renewals = World(tmp_path / "llm.db"), []
    if not renewed:
        monkeypatch.setattr(Renewal, "due", lambda self: None)
    renew = SpendLimiter.renew
    monkeypatch.setattr(SpendLimiter, "renew", lambda *args: (renewals.append(1), renew(*args)))
    assert world.run(call(world), asynchronous)
    assert world.now >= 30 * MINUTE_S
    assert [at for at in world.granted if at < world.now] == [] if renewed else world.granted[0] == 15 * MINUTE_S
    assert len(renewals) <= world.now / 300
    assert world.other.reserved_usd() == pytest.approx(0.0)
    assert world.other.spent_usd() == pytest.approx(0.6)


@pytest.mark.parametrize("deadline_s", [3600.0, None])
def test_a_call_with_a_longer_deadline_reserves_until_then(tmp_path, asynchronous, deadline_s):
    """An answer that takes half an hour is never looked at meanwhile. Negative control: without a deadline, the other
    process gets its part after `reservation_s`.
    """
    world = World(tmp_path / "llm.db", deadline_s=deadline_s)

    def send(_request):
        for _ in range(30):
            world.pass_a_minute()
        return wire.Response(200, STREAM, iter([EVENT, END]))

    assert world.run(send, asynchronous)
    assert (world.granted == []) == (deadline_s is not None)


def test_a_store_that_fails_meanwhile_ends_no_stream(tmp_path, monkeypatch, asynchronous, caplog):
    """The stream goes on, the failure is logged, and the next look tries again."""
    world, tried = World(tmp_path / "llm.db"), []

    def fail(*_):
        tried.append(world.now)
        raise OSError("gone")

    monkeypatch.setattr(SpendLimiter, "renew", fail)
    assert len(world.run(streams(world), asynchronous)) == MINUTES + 1
    assert len(tried) > 3
    assert "cannot be asked (OSError: gone)" in caplog.text


def test_what_a_dead_process_has_reserved_expires_after_its_last_renewal(tmp_path):
    """A call that nobody looks at any more holds its part for `reservation_s`, and not longer."""
    world = World(tmp_path / "llm.db")
    dead = SpendLimiter(world.spend, world.clock.wall)
    held = dead.reservation("", 0.6)
    assert dead.reserve(held).granted
    world.now = 600.0
    dead.renew(held)
    world.sleep(20 * MINUTE_S)
    assert world.granted[0] == 600.0 + 900.0
