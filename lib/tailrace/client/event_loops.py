"""What belongs to one event loop, for a client that several loops use: one after the other, or at once in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar, cast

import httpx2

from tailrace.client.errors import WrongEventLoop

MOST_IDLE: Final = 64
"""Loops that do not run, and are not closed, for which something is kept."""
T = TypeVar("T")


class PerLoop(Generic[T]):
    """A value for each event loop: `make` makes it when a loop first asks. Safe for threads.

    It is dropped when its loop is closed, and when more than `MOST_IDLE` others do not run: such a loop gets a new one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, T] = {}
        self._latest: tuple[asyncio.AbstractEventLoop, T] | None = None
        self._lock = threading.RLock()  # the garbage collector may end what is dropped here at any moment

    def get(self) -> T:
        """Return the value of the running loop."""
        loop, latest = asyncio.get_running_loop(), self._latest
        return latest[1] if latest is not None and latest[0] is loop else self._value(loop)

    def clear(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """Drop all values, and return them with their loops."""
        with self._lock:
            values, self._values, self._latest = list(self._values.items()), {}, None
        return values

    def values(self) -> list[T]:
        """Return the values of all loops."""
        return list(self._values.values())

    async def aclose(self) -> None:
        """Drop all values. Close that of the running loop; what is `Opened` on others is closed there."""
        here = asyncio.get_running_loop()
        for loop, value in self.clear():
            if loop is here:
                await cast(Any, value).aclose()

    def _value(self, loop: asyncio.AbstractEventLoop) -> T:
        with self._lock:
            if loop not in self._values:
                self._drop_unused()
                self._values[loop] = self._make()
            self._latest = (loop, self._values[loop])
            return self._values[loop]

    def _drop_unused(self) -> None:
        values = {loop: value for loop, value in self._values.items() if not loop.is_closed()}
        idle = [loop for loop in values if not loop.is_running()]
        for loop in idle[: max(0, len(idle) - MOST_IDLE)]:
            del values[loop]
        self._values = values


class LoopEvent:
    """An `asyncio.Event` of the loop that makes it, which any thread may set."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._granted = False

    def set(self) -> None:
        """Set the event. Raise RuntimeError when its loop is closed, so that nobody waits for it any more."""
        if asyncio._get_running_loop() is self._loop:
            self._event.set()
        else:
            self._loop.call_soon_threadsafe(self._event.set)
        self._granted = True

    def is_set(self) -> bool:
        return self._granted

    async def wait(self) -> None:
        await self._event.wait()


class Opened(Generic[T]):
    """What was opened on the running loop. `close` is awaited there: by `aclose`, when nobody holds this any more, or
    when the loop shuts down its asynchronous generators, as `asyncio.run` does.
    """

    def __init__(self, opened: T, close: Callable[[], Awaitable[object]]) -> None:
        self.opened = opened
        self._close = close
        self._loop = asyncio.get_running_loop()
        self._lifetime = _lifetime(close)
        with suppress(StopIteration):
            self._lifetime.__anext__().send(None)  # it begins without a wait

    async def aclose(self) -> None:
        await self._lifetime.aclose()

    def __del__(self) -> None:
        if self._loop.is_closed():  # without shutting its generators down: nothing is left to wait for
            with suppress(RuntimeError):
                next(iter(self._close().__await__()), None)


async def _lifetime(close: Callable[[], Awaitable[object]]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await close()


class LoopTransport(httpx2.AsyncBaseTransport):
    """A transport for each event loop, made by `make`."""

    def __init__(self, make: Callable[[], httpx2.AsyncBaseTransport]) -> None:
        self._make = make
        self._transports = PerLoop(self._opened)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._transports.get().opened.handle_async_request(request)

    async def aclose(self) -> None:
        await self._transports.aclose()

    def _opened(self) -> Opened[httpx2.AsyncBaseTransport]:
        transport = self._make()
        return Opened(transport, transport.aclose)


class OneLoop:
    """The event loop to which the connections of a caller's own transports belong: the first that used them."""

    def __init__(self, transports: Sequence[httpx2.AsyncBaseTransport]) -> None:
        self._transports = transports
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, transports: Sequence[httpx2.AsyncBaseTransport]) -> OneLoop | None:
        """Return the loop of those transports that keep connections; None when none of them is known to do so."""
        bound = [transport for transport in transports if _keeps_connections(transport)]
        return cls(bound) if bound else None

    def check(self) -> None:
        """Raise WrongEventLoop on another loop, while the first one lives or has left connections behind."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            with self._lock:
                if self._loop is not None and not (self._loop.is_closed() and not any(map(_left, self._transports))):
                    raise WrongEventLoop
                self._loop = loop


def in_loop(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    """Call `act` in another loop, unless that is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(act)


def _keeps_connections(transport: object) -> bool:
    """Whether it is httpx2's transport, or the SDK's with aiohttp; others, such as mocks, belong to no loop."""
    kinds = type(transport).__mro__
    return isinstance(transport, httpx2.AsyncHTTPTransport) or any(
        kind.__name__ == "AiohttpTransport" for kind in kinds
    )


def _left(transport: Any) -> bool:
    """Whether `transport` has connections; one that does not tell has."""
    pool = getattr(transport, "_pool", None)
    return bool(getattr(pool, "connections", True))
