"""The requests in flight: counted, waited for when the service drains, and cancelled at the drain's deadline."""

from __future__ import annotations

import asyncio
from typing import Any


class InFlight:
    """The tasks of the requests in flight, and whether the service is draining."""

    def __init__(self) -> None:
        self.draining = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cut: set[asyncio.Task[Any]] = set()
        self._empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, task: asyncio.Task[Any]) -> None:
        """Count a request that begins."""
        self._tasks.add(task)

    def remove(self, task: asyncio.Task[Any]) -> None:
        """Count a request that has ended."""
        self._tasks.discard(task)
        if not self._tasks:
            self._empty.set()

    def was_cut(self, task: asyncio.Task[Any]) -> bool:
        """Return whether `cut` has cancelled this request."""
        return task in self._cut

    async def drain(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until no request is in flight; return whether that came true."""
        self.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._tasks:
            self._empty.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._empty.wait()
            except TimeoutError:
                return not self._tasks
        return True

    async def cut(self, grace_s: float = 1.0) -> int:
        """Cancel the requests that are still in flight; return their number."""
        tasks = set(self._tasks)
        self._cut |= tasks
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        return len(tasks)


class DisconnectWatch:
    """Cancels a request's task when its caller disconnects; `disconnected` is true from then on.

    The watch begins after `WATCH_AFTER_S`: most hits are answered earlier, and cost no second task.
    """

    WATCH_AFTER_S = 0.01

    def __init__(self, receive: Any, task: asyncio.Task[Any]) -> None:
        self.disconnected = False
        self._receive = receive
        self._task = task
        self._watch: asyncio.Task[None] | None = None
        self._later = task.get_loop().call_later(self.WATCH_AFTER_S, self._begin)

    def stop(self) -> None:
        """Stop watching: the response is complete."""
        self._later.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _begin(self) -> None:
        self._watch = self._task.get_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.disconnected = True
        self._task.cancel()
