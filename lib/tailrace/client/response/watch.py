"""A stream on its way to the caller: read while it passes, and kept for the cache when it is not too large."""

from __future__ import annotations

from collections.abc import Callable

from tailrace.protocol.answer import AnswerReader
from tailrace.protocol.failures import CUT_STREAM
from tailrace.protocol.reading import NO_ANSWER, Answer


class StreamWatch:
    """Watches the chunks of one stream without changing them.

    `reader` is None for an answer of an operation that is not known. At most `max_bytes` are kept; `now` is in seconds.
    """

    def __init__(self, reader: AnswerReader | None, max_bytes: int, now: Callable[[], float]) -> None:
        self._reader = reader
        self._max_bytes = max_bytes
        self._now = now
        self._chunks: list[bytes] = []
        self._total = 0
        self._answer: Answer | None = None

    def feed(self, chunk: bytes) -> None:
        """Note the next chunk."""
        if self._reader is not None:
            self._reader.feed(chunk, int(self._now() * 1e9))
        if self._max_bytes:
            self._chunks.append(chunk)
            self._total += len(chunk)
            if self._total > self._max_bytes:
                self._max_bytes = 0
                self._chunks.clear()

    @property
    def failure(self) -> str:
        """The class of the failure that has shown so far; "" for none."""
        return self._reader.failure if self._reader is not None else ""

    @property
    def over(self) -> bool:
        """Whether the terminator has passed, so that nothing is missing, however the stream ends."""
        return self._reader is not None and self._reader.over

    @property
    def storable(self) -> bool:
        """Whether the whole answer has come, and may be kept."""
        return self._max_bytes > 0 and self._reader is not None and self._reader.complete

    @property
    def answer(self) -> Answer:
        """What the stream said, once its terminator has passed or it is over."""
        if self._answer is None and self._reader is not None and self._reader.over:
            return self._reader.end(True)
        return self._answer or NO_ANSWER

    @property
    def cut(self) -> bool:
        """Whether the stream has ended before its answer did."""
        return self._answer is not None and self._answer.failure == CUT_STREAM

    @property
    def whole(self) -> tuple[bytes, ...] | None:
        """All chunks as they came; None when they were too many to keep, or are not wanted."""
        return tuple(self._chunks) if self._max_bytes else None

    def end(self, whole: bool) -> Answer:
        """Return what the stream said, once it is over; `whole` when it came to its end."""
        self._answer = answer = NO_ANSWER if self._reader is None else self._reader.end(whole)
        return answer
