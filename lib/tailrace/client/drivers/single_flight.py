"""Single-flight on an event loop: concurrent calls for the same key share one fetch. Each loop has its own fetches.

The fetch runs as a task of its own: a caller who is cancelled takes nobody's answer away, not even the first one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tailrace.client.call.effects import Background, Hedge, Join, Send, Work
from tailrace.client.call.pending import FetchResult, PendingCall
from tailrace.client.event_loops import PerLoop, in_loop
from tailrace.client.response.shared_streams import Broadcast
from tailrace.client.response.streams import AsyncMetered, aclose
from tailrace.client.wire import Response, Unanswered

_GRACE_S: Final = 0.25
"""A fetch has the deadline of the call that began it, and gets this long to say itself what it was doing by then."""


@dataclass(slots=True, eq=False)
class _Flight:
    """A fetch under way for a call, and the stream that it brought."""

    call: PendingCall
    task: asyncio.Task[Any] = field(init=False)
    stream: Broadcast | None = None

    @property
    def joinable(self) -> bool:
        """Whether its answer is on its way, so that a call that begins now may share it."""
        return not self.call.over and (self.stream is None or self.stream.source.joinable)


class _Flights:
    """The tasks of one event loop: the fetches under way, by key, and those that read shared streams."""

    def __init__(self) -> None:
        self.under_way: dict[str, _Flight] = {}
        self.pumps: set[asyncio.Task[None]] = set()

    def cancelled(self) -> list[asyncio.Task[Any]]:
        """Cancel all, and return them."""
        tasks = [*(flight.task for flight in self.under_way.values()), *self.pumps]
        for task in tasks:
            task.cancel()
        return tasks


class SingleFlight:
    """The fetches under way, by event loop and key."""

    def __init__(self, run: Callable[[Work[Any]], Awaitable[Any]]) -> None:
        self._run = run
        self._flights = PerLoop(_Flights)

    def __len__(self) -> int:
        """The number of fetches, and of streams that are read for them, on all loops."""
        return sum(len(flights.under_way) + len(flights.pumps) for flights in self._flights.values())

    async def join(self, effect: Join) -> tuple[FetchResult | BaseException | None, bool]:
        """Wait for the fetch of this key, and begin it when there is none."""
        task, ours = self._joined(effect)
        begun = task.get_loop().time()
        until = None if effect.timeout_s is None else begun + effect.timeout_s
        async with asyncio.timeout_at(until + _GRACE_S if until is not None and ours else until):
            await _ended(task)
        if task.cancelled():
            return Unanswered("connection", "the client was closed"), ours
        error = task.exception()
        if error is not None:
            return error, ours
        ends_at = None if effect.stream_s is None else begun + effect.stream_s
        return _subscribed(task.result(), ends_at, effect.late), ours

    async def background(self, effect: Background) -> None:
        """Begin the fetch of this key, unless there is one."""
        self._joined(Join(effect.key, effect.work, effect.call, None, TimeoutError))

    def broadcast(self, source: AsyncMetered) -> Broadcast:
        """Return `source` for any number of readers; it is read to its end in any case."""
        shared = Broadcast(source)
        pump = asyncio.create_task(shared.pump())
        pumps = self._flights.get().pumps
        pumps.add(pump)
        pump.add_done_callback(pumps.discard)
        shared.pumped = pump
        return shared

    async def aclose(self) -> None:
        """Stop every fetch; those of other loops end there, and are not waited for."""
        here = asyncio.get_running_loop()
        for loop, flights in self._flights.clear():
            if loop is here:
                await asyncio.gather(*flights.cancelled(), return_exceptions=True)
            else:
                in_loop(loop, flights.cancelled)

    def _joined(self, effect: Join) -> tuple[asyncio.Task[Any], bool]:
        """Return the task of this key, and whether it was begun here."""
        under_way = self._flights.get().under_way
        flight = under_way.get(effect.key)
        if flight is not None and flight.joinable:
            return flight.task, False
        flight = under_way[effect.key] = _Flight(effect.call)
        flight.task = asyncio.create_task(self._fetch(effect, under_way, flight))
        flight.task.add_done_callback(_retrieve_error)
        return flight.task, True

    async def _fetch(self, effect: Join, under_way: dict[str, _Flight], this: _Flight) -> Any:
        """Carry out the fetch; a stream stays under way until its end, so that later callers join it."""
        pumped: asyncio.Task[None] | None = None

        def over(_done: object = None) -> None:
            if under_way.get(effect.key) is this:
                del under_way[effect.key]

        try:
            result = await self._run(effect.work())
            body = result.response.body if isinstance(result, FetchResult) else None
            if isinstance(body, Broadcast):
                this.stream, pumped = body, body.pumped
            return result
        finally:
            if pumped is not None and not pumped.done():
                pumped.add_done_callback(over)
            else:
                over()


def _retrieve_error(task: asyncio.Task[Any]) -> None:
    """Retrieve the task's error, so that asyncio does not report it when all who waited have left."""
    if not task.cancelled():
        task.exception()


async def _ended(task: asyncio.Task[Any]) -> None:
    """Wait until `task` is over; cancelling the wait does not cancel the task."""
    if not task.done():
        waiter = task.get_loop().create_future()
        task.add_done_callback(lambda _: None if waiter.done() else waiter.set_result(None))
        await waiter


def _subscribed(result: FetchResult, until: float | None, late: Callable[[], Exception]) -> FetchResult:
    """Return `result` for one more reader; a stream is given to each from its beginning."""
    body = result.response.body
    if isinstance(body, Broadcast):
        return replace(result, response=replace(result.response, body=body.subscribe(until, late)))
    return result


async def hedged(attempt: Callable[[Send], Awaitable[Response]], first: Send, hedge: Hedge) -> Response:
    """Return the first good answer of an attempt and, if it is slow, of a second one; close the other."""
    tasks: list[asyncio.Future[Response]] = [asyncio.ensure_future(attempt(first))]
    taken: asyncio.Future[Response] | None = None
    try:
        await asyncio.wait(tasks, timeout=hedge.after_s)
        if not tasks[0].done() and (second := hedge.second()) is not None:
            tasks.append(asyncio.ensure_future(attempt(second)))
        else:
            await asyncio.wait(tasks)
            taken = tasks[0]
        ranks: dict[asyncio.Future[Response], int] = {}
        running = set(tasks)
        while taken is None:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            ranks |= {task: _rank(task, number, hedge) for number, task in enumerate(tasks) if task in done}
            best = min(ranks, key=ranks.__getitem__)
            taken = best if ranks[best] == 0 or not running else None
        return taken.result()
    finally:
        for task in tasks:
            if task is not taken:
                task.add_done_callback(_close_answer)
                task.cancel()
        if len(tasks) > 1:
            hedge.over(None if taken is None else tasks.index(taken))


def _rank(task: asyncio.Future[Response], number: int, hedge: Hedge) -> int:
    """Return 0 for a good answer, 1 for a bad one, 2 for none."""
    error = asyncio.CancelledError() if task.cancelled() else task.exception()
    if error is None:
        return 0 if hedge.ended(number, task.result()) else 1
    if isinstance(error, Unanswered):
        hedge.ended(number, error)
    return 2


def _close_answer(task: asyncio.Future[Response]) -> None:
    """Close the answer that was not taken."""
    if not task.cancelled() and task.exception() is None and not isinstance(task.result().body, bytes):
        task.get_loop().create_task(aclose(task.result().body))
