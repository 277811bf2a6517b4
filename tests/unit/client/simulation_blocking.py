"""The simulation with the driver for threads: one caller after the other, in simulated time."""

from dataclasses import replace
from functools import partial

from tests.unit.client.simulation import run

from tailrace.client import Driver, wire
from tailrace.client.call.effects import Wait
from tailrace.client.response import streams


def simulate_blocking(plan, policy, callers):
    """Return the world after the calls of all `callers`, with the driver for threads, one after the other."""

    async def calls(world, now):
        world.slack_s += world.longest_s()
        for caller in callers:
            await world.call(replace(caller, leaves_s=None), now)

    if policy["limits"] is not None:
        policy = {**policy, "limits": replace(policy["limits"], hedge_after_s=None)}
    return run(plan, policy, calls, Blocking)


class Blocking:
    """The driver for threads in the loop's simulated time, which every blocking wait advances."""

    def __init__(self, policy, provider, clock, loop):
        self._loop, self._provider = loop, provider
        provider.pause = self._paused
        self.driver = Driver(policy, self._sent, clock=clock, sleep=self._advance)
        self.pipeline, self._handlers = self.driver.pipeline, self.driver._handlers
        self._single_flight = self.driver._under_way
        self._handlers[Wait] = self._waited

    async def __call__(self, request):
        response = self.driver(request)
        if not isinstance(response.body, bytes):
            response.body = _Awaited(response.body)
        return response

    def _sent(self, request):
        self._provider.left_s = request.timeout_s
        response = _done(self._provider(request))
        if not isinstance(response.body, bytes):
            response.body = self._chunks(response.body, request.timeout_s)
        return response

    def _chunks(self, body, wait_s):
        try:
            while True:
                self._provider.left_s = wait_s
                try:
                    yield _done(body.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            _done(body.aclose())

    async def _paused(self, seconds):
        if self._provider.left_s is not None and seconds > self._provider.left_s:
            self._advance(self._provider.left_s)
            raise wire.Unanswered("timeout", "nothing in time")
        self._advance(seconds)

    def _waited(self, effect):
        if not effect.event.is_set():
            assert effect.timeout_s is not None, "deadlock"
            self._advance(effect.timeout_s)
        return effect.event.is_set()

    def _advance(self, seconds):
        self._loop.now += seconds


class _Awaited:
    """A blocking stream, read with `async for`."""

    def __init__(self, body):
        self._body = body

    def __aiter__(self):
        return self

    async def __anext__(self):
        for part in self._body:
            return part
        raise StopAsyncIteration

    async def aclose(self):
        streams.close(self._body)


class InlineThread:
    """A thread that does its work in `start`."""

    def __init__(self, target, args, **_):
        self.start = partial(target, *args)


def _done(work):
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")
