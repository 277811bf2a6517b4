"""What belongs to one event loop, and what all loops of a client share."""

import asyncio
import threading

import httpx2
import pytest

from tailrace import Limits, Policy, Retry
from tailrace.client import AsyncDriver, WrongEventLoop, wire
from tailrace.client.event_loops import MOST_IDLE, LoopEvent, OneLoop, PerLoop
from tailrace.client.limiters.concurrency import Permits

REQUEST = wire.Request("POST", "http://h/v1/chat/completions", (), b'{"model": "m", "temperature": 0, "messages": []}')
GOOD = b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}]}'


def kept(loops):
    """Return how many values are kept after each of `loops` has asked for one."""

    async def asked():
        return values.get() is values.get()

    values = PerLoop(object)
    assert all(loop.run_until_complete(asked()) for loop in loops)
    return len(values.values())


def test_a_closed_loop_keeps_nothing():
    """However many loops come and go, only the last one's value is kept."""

    async def asked():
        return values.get()

    values = PerLoop(object)
    for _ in range(100):
        asyncio.run(asked())
    assert len(values.values()) == 1


def test_loops_that_nobody_closes_are_bounded():
    """Of loops that do not run, the last ones keep their values; negative control: fewer all keep theirs."""
    loops = [asyncio.new_event_loop() for _ in range(MOST_IDLE + 9)]
    assert kept(loops) == MOST_IDLE + 1
    assert kept(loops[:9]) == 9
    for loop in loops:
        loop.close()


def waiting(permits, loop, event=LoopEvent):
    """Return an event of `loop` that waits for a permit."""

    async def begun():
        made = event()
        assert not permits.acquire(made)
        return made

    return loop.run_until_complete(begun())


def test_a_permit_passes_over_a_closed_loop():
    """A permit goes to the next who waits when the loop of the first is closed; he gives none back."""
    permits, gone, here = Permits(1), asyncio.new_event_loop(), asyncio.new_event_loop()
    assert permits.try_acquire()
    lost, next_one = waiting(permits, gone), waiting(permits, here)
    gone.close()
    permits.release()
    assert (lost.is_set(), next_one.is_set(), permits.in_flight) == (False, True, 1)
    permits.withdraw(lost)
    assert permits.in_flight == 1
    here.run_until_complete(asyncio.wait_for(next_one.wait(), 60))
    permits.release()
    assert permits.in_flight == 0
    here.close()


def test_a_permit_is_lost_on_an_event_that_knows_no_loop():
    """Negative control: an event of asyncio takes the permit for a loop that is closed."""
    permits, gone, here = Permits(1), asyncio.new_event_loop(), asyncio.new_event_loop()
    assert permits.try_acquire()
    waiting(permits, gone, asyncio.Event)
    next_one = waiting(permits, here)
    gone.close()
    permits.release()
    assert not next_one.is_set()
    here.close()


def in_threads(works):
    """Run each of `works` in a thread with a loop of its own; return the results, and how many threads hang."""
    results = []
    threads = [threading.Thread(target=lambda work=work: results.append(asyncio.run(work())), daemon=True)
               for work in works]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, sum(thread.is_alive() for thread in threads)


def test_one_limit_counts_the_attempts_of_all_loops():
    """Loops in threads share one permit: all calls are answered, one at a time, and no thread hangs."""
    busy, most, lock = 0, 0, threading.Lock()

    async def send(request):
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        await asyncio.sleep(0.002)
        with lock:
            busy -= 1
        return wire.Response(200, (("content-type", "application/json"),), GOOD)

    driver = AsyncDriver(Policy(cache=None, retry=None, limits=Limits(concurrency=1)), send)

    async def many():
        return [answer.status for answer in await asyncio.gather(*(driver(REQUEST) for _ in range(8)))]

    results, hanging = in_threads([many] * 3)
    assert (results, hanging, most) == ([[200] * 8] * 3, 0, 1)


def test_each_loop_has_its_own_fetches():
    """The same question on two loops is sent on each, and once on each; the end of one loop leaves the other's."""
    sent, gate = [], threading.Barrier(2, timeout=60)

    async def send(request):
        sent.append(asyncio.get_running_loop())
        await asyncio.to_thread(gate.wait)
        return wire.Response(200, (("content-type", "application/json"),), GOOD)

    driver = AsyncDriver(Policy(), send)

    async def twice():
        return [answer.status for answer in await asyncio.gather(driver(REQUEST), driver(REQUEST))]

    results, hanging = in_threads([twice] * 2)
    assert (results, hanging) == ([[200, 200]] * 2, 0)
    assert len(sent) == len(set(sent)) == 2


def test_closing_a_client_stops_the_fetches_of_other_loops():
    """A call that waits on another loop ends when the client is closed on this one."""
    begun = threading.Event()

    async def send(request):
        begun.set()
        await asyncio.sleep(3600)

    driver = AsyncDriver(Policy(retry=Retry(attempts=1)), send)

    async def waits():
        with pytest.raises(Exception, match="the client was closed"):
            await driver(REQUEST)

    async def closes():
        await asyncio.to_thread(begun.wait, 60)
        await driver.aclose()

    results, hanging = in_threads([waits, closes])
    assert (results, hanging) == ([None, None], 0)
    assert not len(driver._single_flight)


def checked_on(bound, *loops):
    """Return for each of `loops` whether `bound` admits it."""

    async def admitted():
        try:
            bound.check()
        except WrongEventLoop:
            return False
        return True

    return [loop.run_until_complete(admitted()) for loop in loops]


def test_a_callers_connections_belong_to_one_loop():
    """A second loop is refused while the first lives, and admitted once it is closed and has left no connections."""
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    bound = OneLoop.of([httpx2.AsyncHTTPTransport()])
    assert checked_on(bound, first, second, first) == [True, False, True]
    first.close()
    assert checked_on(bound, second) == [True]
    second.close()


def test_a_transport_without_connections_belongs_to_no_loop():
    """Mocks and applications work on every loop."""
    app = httpx2.ASGITransport(app=lambda *_: None)
    assert OneLoop.of([httpx2.MockTransport(lambda request: httpx2.Response(200)), app]) is None
