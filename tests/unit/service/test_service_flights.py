"""Requests in flight, and the callers who wait for them."""

import asyncio
from typing import Any

from tailrace.service.in_flight import Caller, Flights


async def flying(flights: Flights, seconds: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    flights.board(task)
    try:
        await asyncio.sleep(seconds)
    finally:
        flights.land(task)


def test_a_drain_waits_for_who_is_in_flight() -> None:
    """A drain ends when the last request has landed, those that came later included."""

    async def check() -> None:
        flights = Flights()
        tasks = [asyncio.create_task(flying(flights, 0.02))]
        await asyncio.sleep(0)
        drain = asyncio.create_task(flights.drain(5))
        await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(flying(flights, 0.03)))
        assert await drain
        assert flights.draining
        assert all(task.done() for task in tasks)

    asyncio.run(check())


def test_a_drain_ends_at_its_deadline_and_cuts() -> None:
    """At the deadline the drain says no, and cutting ends and counts what is left."""

    async def check() -> None:
        flights = Flights()
        task = asyncio.create_task(flying(flights, 60))
        await asyncio.sleep(0)
        assert not await flights.drain(0.01)
        assert await flights.cut() == 1
        assert task.cancelled()
        assert flights.was_cut(task)
        assert len(flights) == 0

    asyncio.run(check())


def test_a_caller_who_goes_ends_the_request() -> None:
    """When the caller disconnects, the request is cancelled, and it is known why."""

    async def check() -> None:
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await left.wait()
            return {"type": "http.disconnect"}

        work = asyncio.create_task(asyncio.sleep(60))
        caller = Caller(receive, work)
        await asyncio.sleep(0.03)
        assert not work.done()
        left.set()
        await asyncio.wait([work])
        assert work.cancelled()
        assert caller.gone

    asyncio.run(check())


def test_a_caller_who_stays_is_left_alone() -> None:
    """After the answer, a disconnect cancels nothing."""

    async def check() -> None:
        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.02)
            return {"type": "http.disconnect"}

        work = asyncio.create_task(asyncio.sleep(0.05))
        caller = Caller(receive, work)
        await asyncio.sleep(0.015)
        caller.leave()
        await work
        assert not caller.gone

    asyncio.run(check())
