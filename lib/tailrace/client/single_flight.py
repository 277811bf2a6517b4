"""Single-flight on an event loop: whoever wants what is being fetched waits for that.

The fetch runs as a task of its own: a caller who is cancelled takes nobody's answer away, not even the leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from tailrace.client.call import Fetched
from tailrace.client.effects import Background, Hedge, Join, Work
from tailrace.client.streams import AsyncMetered, Broadcast, aclose
from tailrace.client.wire import Response, Unanswered

_GRACE_S: Final = 0.25
"""A fetch keeps the deadline of him who began it, and knows best what it was doing when it passed."""


class Flights:
    """What is under way, by key."""

    def __init__(self, run: Callable[[Work[Any]], Awaitable[Any]]) -> None:
        self._run = run
        self._under_way: dict[str, asyncio.Task[Any]] = {}
        self._pumps: set[asyncio.Task[None]] = set()

    async def join(self, effect: Join) -> tuple[Fetched | BaseException | None, bool]:
        """Wait for the fetch of this key, and begin it if nobody has."""
        task, ours = self._joined(effect)
        until = None if effect.timeout_s is None else task.get_loop().time() + effect.timeout_s
        async with asyncio.timeout_at(until + _GRACE_S if until is not None and ours else until):
            await _ended(task)
        if task.cancelled():
            return Unanswered("connection", "the client was closed"), ours
        error = task.exception()
        return (_subscribed(task.result(), until, effect.late) if error is None else error), ours

    async def background(self, effect: Background) -> None:
        """Begin the fetch of this key, unless somebody has."""
        self._joined(Join(effect.key, effect.work, None, TimeoutError))

    def broadcast(self, source: AsyncMetered) -> Broadcast:
        """Return `source` for any number of readers; it is read to its end in any case."""
        shared = Broadcast(source)
        pump = asyncio.create_task(shared.pump())
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        shared.pumped = pump
        return shared

    async def aclose(self) -> None:
        tasks = [*self._under_way.values(), *self._pumps]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _joined(self, effect: Join) -> tuple[asyncio.Task[Any], bool]:
        task = self._under_way.get(effect.key)
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            return task, False
        task = asyncio.create_task(self._flown(effect))
        self._under_way[effect.key] = task
        task.add_done_callback(_heard)
        return task, True

    async def _flown(self, effect: Join) -> Any:
        """Carry out the fetch; a stream stays under way until its end, so that late comers join it."""
        this = asyncio.current_task()
        pumped: asyncio.Task[None] | None = None

        def over(_done: object = None) -> None:
            if self._under_way.get(effect.key) is this:
                del self._under_way[effect.key]

        try:
            fetched = await self._run(effect.work())
            body = fetched.response.body if isinstance(fetched, Fetched) else None
            pumped = body.pumped if isinstance(body, Broadcast) else None
            return fetched
        finally:
            if pumped is not None and not pumped.done():
                pumped.add_done_callback(over)
            else:
                over()


def _heard(task: asyncio.Task[Any]) -> None:
    """Take note of the task's error: those who waited for it may all have left."""
    if not task.cancelled():
        task.exception()


async def _ended(task: asyncio.Task[Any]) -> None:
    """Wait until `task` is over, without being tied to it."""
    if not task.done():
        waiter = task.get_loop().create_future()
        task.add_done_callback(lambda _: None if waiter.done() else waiter.set_result(None))
        await waiter


def _subscribed(fetched: Fetched, until: float | None, late: Callable[[], Exception]) -> Fetched:
    body = fetched.response.body
    if isinstance(body, Broadcast):
        return replace(fetched, response=replace(fetched.response, body=body.subscribe(until, late)))
    return fetched


async def hedged(attempt: Callable[[], Awaitable[Response]], hedge: Hedge) -> Response:
    """Return the first good answer of an attempt and, if it is slow, of a second one; close the other."""
    tasks = [asyncio.ensure_future(attempt())]
    taken: asyncio.Future[Response] | None = None
    admitted = False
    try:
        await asyncio.wait(tasks, timeout=hedge.after_s)
        if not tasks[0].done() and (admitted := hedge.admit()):
            tasks.append(asyncio.ensure_future(attempt()))
        running = set(tasks)
        while taken is None:
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            best = min((task for task in tasks if task.done()), key=_rank)
            taken = best if _rank(best) == 0 or not running else None
        return taken.result()
    finally:
        for task in tasks:
            if task is not taken:
                task.add_done_callback(_discarded)
                task.cancel()
        if admitted:
            hedge.release()


def _rank(task: asyncio.Future[Response]) -> int:
    """Return 0 for a good answer, 1 for a bad one, 2 for none."""
    if task.cancelled() or task.exception() is not None:
        return 2
    return int(task.result().status >= 400)


def _discarded(task: asyncio.Future[Response]) -> None:
    """Close the answer that is not taken."""
    if not task.cancelled() and task.exception() is None and not isinstance(task.result().body, bytes):
        task.get_loop().create_task(aclose(task.result().body))
