"""Requests in flight, and the watch for callers that disconnect."""

import asyncio
from typing import Any

from tailrace.service.in_flight import DisconnectWatch, InFlight


async def request(in_flight: InFlight, seconds: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    in_flight.add(task)
    try:
        await asyncio.sleep(seconds)
    finally:
        in_flight.remove(task)


def test_a_drain_waits_for_requests_in_flight() -> None:
    """A drain ends with the last request, also one that arrived during the drain."""

    async def check() -> None:
        in_flight = InFlight()
        tasks = [asyncio.create_task(request(in_flight, 0.02))]
        await asyncio.sleep(0)
        drain = asyncio.create_task(in_flight.drain(5))
        await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(request(in_flight, 0.03)))
        assert await drain
        assert in_flight.draining
        assert all(task.done() for task in tasks)

    asyncio.run(check())


def test_a_drain_ends_at_its_deadline_and_cuts() -> None:
    """At the deadline the drain returns false; `cut` cancels and counts the requests that are left."""

    async def check() -> None:
        in_flight = InFlight()
        task = asyncio.create_task(request(in_flight, 60))
        await asyncio.sleep(0)
        assert not await in_flight.drain(0.01)
        assert await in_flight.cut() == 1
        assert task.cancelled()
        assert in_flight.was_cut(task)
        assert len(in_flight) == 0

    asyncio.run(check())


def test_a_disconnect_cancels_the_request() -> None:
    """When the caller disconnects, the request is cancelled, and the watch knows why."""

    async def check() -> None:
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        work = asyncio.create_task(asyncio.sleep(60))
        watch = DisconnectWatch(receive, work)
        await asyncio.sleep(0.03)
        assert not work.done()
        left.set()
        await asyncio.wait([work])
        assert work.cancelled()
        assert watch.disconnected

    asyncio.run(check())


def test_a_disconnect_after_the_response_cancels_nothing() -> None:
    """A watch that was stopped does not cancel."""

    async def check() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.02)
            return {"type": "http.disconnect"}

        work = asyncio.create_task(asyncio.sleep(0.05))
        watch = DisconnectWatch(receive, work)
        await asyncio.sleep(0.015)
        watch.stop()
        await work
        assert not watch.disconnected

    asyncio.run(check())
