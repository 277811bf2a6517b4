"""Streams on their way to the caller, watched while they pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, cast

from tailrace.client.call.effects import Meter, Work
from tailrace.client.response.watch import StreamWatch
from tailrace.client.wire import Unanswered


class AsyncMetered:
    """A stream for one reader, for asyncio. Its `finish` is carried out once, however it ends, also when it is left."""

    def __init__(self, meter: Meter, run: Callable[[Work[None]], Awaitable[None]], now: Callable[[], float]) -> None:
        self._meter = meter
        self._run = run
        self._now = now
        self._body: AsyncIterator[bytes] = cast(Any, meter.response.body)
        self._over = False

    @property
    def failure(self) -> str:
        """The class of the failure that has shown so far; "" for none."""
        return self._meter.watch.failure

    @property
    def watch(self) -> StreamWatch:
        """What has passed so far."""
        return self._meter.watch

    @property
    def over(self) -> bool:
        """Whether the terminator has passed."""
        return self._meter.watch.over

    @property
    def cut(self) -> bool:
        """Whether the stream has ended before its answer did."""
        return self._meter.watch.cut

    @property
    def joinable(self) -> bool:
        """Whether who begins to read now reads an answer that is on its way, or whole and about to be stored."""
        watch = self._meter.watch
        return not watch.failure and (watch.storable if watch.over else not self._over)

    def __aiter__(self) -> AsyncMetered:
        return self

    async def __anext__(self) -> bytes:
        if self._over:
            raise StopAsyncIteration
        try:
            renewal = self._meter.renewal
            if renewal is not None and (due := renewal.due()) is not None:
                await self._run(due)
            chunk = await self._next()
        except StopAsyncIteration:
            await self._finish(None)
            raise
        except Unanswered as error:
            await self._finish(error)
            raise self._meter.broken(error) from error
        except BaseException as error:
            await self._finish(error)
            raise
        self._meter.watch.feed(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the stream before its end."""
        await self._finish(GeneratorExit())

    def __del__(self) -> None:
        if not self._over:
            self._over = True  # the collector may close a generator that reads from here after this
            self._meter.abandoned()

    async def _next(self) -> bytes:
        meter = self._meter
        if meter.idle_s is None and meter.deadline_at is None:
            return await anext(self._body)
        limit_s, late = meter.idle_s, meter.idle_is_late
        if meter.deadline_at is not None:
            left = max(0.0, meter.deadline_at - self._now())
            if limit_s is None or left <= limit_s:
                limit_s, late = left, True
        try:
            async with asyncio.timeout(limit_s):
                return await anext(self._body)
        except TimeoutError:
            raise meter.late() if late else Unanswered("timeout", f"no chunk for {limit_s:.3f} s") from None

    async def _finish(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        try:
            await aclose(self._body)
        finally:
            await self._run(self._meter.finish(error))


class Metered:
    """A stream for one reader, for threads; see `AsyncMetered`."""

    def __init__(self, meter: Meter, run: Callable[[Work[None]], None], now: Callable[[], float]) -> None:
        self._meter = meter
        self._run = run
        self._now = now
        self._body: Iterator[bytes] = cast(Any, meter.response.body)
        self._over = False

    @property
    def failure(self) -> str:
        """The class of the failure that has shown so far; "" for none."""
        return self._meter.watch.failure

    def __iter__(self) -> Metered:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        try:
            renewal = self._meter.renewal
            if renewal is not None and (due := renewal.due()) is not None:
                self._run(due)
            chunk = next(self._body)
            if self._too_late():
                raise self._meter.late()
        except StopIteration:
            self._finish(None)
            raise
        except Unanswered as error:
            if error.kind == "timeout" and self._too_late():  # a sender knows the time for one wait, and no deadline
                late = self._meter.late()
                self._finish(late)
                raise late from error
            self._finish(error)
            raise self._meter.broken(error) from error
        except BaseException as error:
            self._finish(error)
            raise
        self._meter.watch.feed(chunk)
        return chunk

    def close(self) -> None:
        """Close the stream before its end."""
        self._finish(GeneratorExit())

    def __del__(self) -> None:
        if not self._over:
            self._over = True  # the collector may close a generator that reads from here after this
            self._meter.abandoned()

    def _too_late(self) -> bool:
        return self._meter.deadline_at is not None and self._now() >= self._meter.deadline_at

    def _finish(self, error: BaseException | None) -> None:
        if self._over:
            return
        self._over = True
        try:
            close(self._body)
        finally:
            self._run(self._meter.finish(error))


class Primed:
    """A stream whose first chunks were read already; iterate with `for` or with `async for`."""

    def __init__(self, first: bytes | None, rest: Any) -> None:
        self._held = [] if first is None else [first]
        self._rest = rest

    @classmethod
    def opened(cls, chunks: list[bytes], rest: Any) -> Primed:
        """Return the stream `rest` with these chunks, which were read from it, before it."""
        opened = cls(None, rest._rest if isinstance(rest, cls) else rest)
        opened._held = chunks[::-1]
        return opened

    def __iter__(self) -> Primed:
        return self

    def __next__(self) -> bytes:
        if self._held:
            return self._held.pop()
        chunk: bytes = next(self._rest)
        return chunk

    def __aiter__(self) -> Primed:
        return self

    async def __anext__(self) -> bytes:
        if self._held:
            return self._held.pop()
        chunk: bytes = await anext(self._rest)
        return chunk

    async def aclose(self) -> None:
        await aclose(self._rest)

    def close(self) -> None:
        close(self._rest)


async def aclose(body: Any) -> None:
    """Close a stream, if it can be closed."""
    if hasattr(body, "aclose"):
        await body.aclose()


def close(body: Any) -> None:
    """Close a stream, if it can be closed."""
    if hasattr(body, "close"):
        body.close()
