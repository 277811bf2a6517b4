"""One stream for many readers: each gets all of it, from its beginning, and has an end of his own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from tailrace.client.response.streams import AsyncMetered
from tailrace.protocol.reading import Answer


class Broadcast:
    """A stream for many readers: each gets all of it, from its beginning; leaving does not stop it."""

    def __init__(self, source: AsyncMetered) -> None:
        self.source = source
        self._chunks: list[bytes] = []
        self._error: BaseException | None = None
        self._over = False
        self._changed = asyncio.Event()
        self.pumped: asyncio.Task[None] | None = None
        self.failure = ""
        self.failed_after = 0
        """The number of chunks after which the failure showed; 0 for none."""
        self.over_after = 0
        """The number of chunks after which the terminator had passed; 0 for not yet."""

    async def pump(self) -> None:
        """Read the source to its end, and wake the readers at each chunk."""
        try:
            async for chunk in self.source:
                self._chunks.append(chunk)
                if not self.failed_after and self.source.failure:
                    self.failed_after, self.failure = len(self._chunks), self.source.failure
                if not self.over_after and self.source.over:
                    self.over_after = len(self._chunks)
                self._wake_readers()
        except Exception as error:
            self._error = error
        except BaseException as error:
            self._error = ConnectionError("the client was closed")
            raise error
        finally:
            self._over = True
            self._wake_readers()

    def subscribe(self, until: float | None, late: Callable[[], Exception]) -> Subscription:
        """Return every chunk; raise `late()` when the next one has not come by `until`, in the loop's time."""
        return Subscription(self._read(until, late), self)

    async def _read(self, until: float | None, late: Callable[[], Exception]) -> AsyncGenerator[bytes]:
        position = 0
        while True:
            while position < len(self._chunks):
                position += 1
                yield self._chunks[position - 1]
            if self._over:
                break
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                raise late() from None
        if self._error is not None:
            raise self._error

    def _wake_readers(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Subscription:
    """A stream that many read, for one of them.

    For a reader who joined, `ended` is called once, with the error that ended his part or None; or `abandoned`, when he
    left it to the garbage collector. The call that began the stream is booked at the end of the stream itself.
    """

    def __init__(self, chunks: AsyncGenerator[bytes], shared: Broadcast) -> None:
        self._chunks = chunks
        self._shared = shared
        self._taken = 0
        self.ended: Callable[[BaseException | None], None] | None = None
        self.abandoned: Callable[[], None] | None = None

    @property
    def failure(self) -> str:
        """The class of the failure that has shown to this reader so far; "" for none."""
        return self._shared.failure if 0 < self._shared.failed_after <= self._taken else ""

    @property
    def over(self) -> bool:
        """Whether the terminator has passed to this reader."""
        return 0 < self._shared.over_after <= self._taken

    @property
    def cut(self) -> bool:
        """Whether the stream has ended before its answer did."""
        return self._shared.source.cut

    @property
    def answer(self) -> Answer:
        """What the stream said, once it is over."""
        return self._shared.source.watch.answer

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except BaseException as error:
            self._end(None if isinstance(error, StopAsyncIteration) else error)
            raise
        self._taken += 1
        return chunk

    async def aclose(self) -> None:
        self._end(GeneratorExit())
        await self._chunks.aclose()

    def __del__(self) -> None:
        if self.ended is not None and self.abandoned is not None:
            self.abandoned()

    def _end(self, error: BaseException | None) -> None:
        ended, self.ended = self.ended, None
        if ended is not None:
            ended(error)
