"""The requests in flight: counted, waited for when the service drains, cut at its deadline."""

from __future__ import annotations

import asyncio
from typing import Any


class Flights:
    """Who is being answered, and whether the service is on its way out."""

    def __init__(self) -> None:
        self.draining = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()
        self._landed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks)

    def board(self, task: asyncio.Task[Any]) -> None:
        """Count a request in."""
        self._tasks.add(task)

    def land(self, task: asyncio.Task[Any]) -> None:
        """Count a request out."""
        self._tasks.discard(task)
        if not self._tasks:
            self._landed.set()

    def was_cut(self, task: asyncio.Task[Any]) -> bool:
        """Whether a request is being cancelled because the drain's deadline has passed."""
        return task in self._cut

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight, at most `timeout_s`; return whether that came."""
        self.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._tasks:
            self._landed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._landed.wait()
            except TimeoutError:
                return not self._tasks
        return True

    async def cut(self, grace_s: float = 1.0) -> int:
        """End what is still in flight; return how many that were."""
        tasks = set(self._tasks)
        self._cut |= tasks
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        return len(tasks)


class Caller:
    """Watches whether the caller is still there, once an answer takes longer than a moment.

    When the caller goes, the request's task is cancelled, and `gone` is true. Most hits are answered before
    the watch begins, so that they cost no second task.
    """

    WATCH_AFTER_S = 0.01

    def __init__(self, receive: Any, task: asyncio.Task[Any]) -> None:
        self.gone = False
        self._receive = receive
        self._task = task
        self._watch: asyncio.Task[None] | None = None
        self._later = task.get_loop().call_later(self.WATCH_AFTER_S, self._begin)

    def leave(self) -> None:
        """Stop watching: the answer is complete."""
        self._later.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _begin(self) -> None:
        self._watch = self._task.get_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()
