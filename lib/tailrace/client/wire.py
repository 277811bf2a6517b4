"""What goes over the wire, and nothing else: no SDK object is built to make or to read one of these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from tailrace.headers import ATTEMPTS, BACKOFF, CACHE, COST

Headers: TypeAlias = tuple[tuple[str, str], ...]
Stream = TypeVar("Stream", bound=AsyncIterator[bytes] | Iterator[bytes], default=AsyncIterator[bytes])

OF_THE_WAY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})
"""Headers of an answer that are about its packing on the way, which is undone when a sender hands it on."""
NOT_SENT: Final = frozenset(
    {"content-length", "host", "connection", "transfer-encoding", "keep-alive", "accept-encoding"}
)
"""Headers of a request that a sender sets itself, as it knows the connection and what it can unpack."""


@dataclass(slots=True)
class Request:
    """One HTTP request. `timeout_s` is what is left for this attempt: a sender that blocks has to hold it."""

    method: str
    url: str
    headers: Headers
    body: bytes
    timeout_s: float | None = None
    extensions: Any = None
    """What a sender of the same transport wants to find again; nobody else looks at it."""

    def within(self, timeout_s: float | None) -> Request:
        """Return the same, to be answered in `timeout_s`."""
        return Request(self.method, self.url, self.headers, self.body, timeout_s, self.extensions)


@dataclass(slots=True)
class Response(Generic[Stream]):
    """One answer: its body is whole, or a stream of chunks that is read once."""

    status: int
    headers: Headers
    body: bytes | Stream
    key: str = ""
    """The cache key under which this answer stands in the store; "" when it does not."""


class Unanswered(Exception):
    """A sender got no answer: nothing came back, or not all of it. The cause is chained to it."""

    def __init__(self, kind: Literal["timeout", "connection"], message: str) -> None:
        super().__init__(message)
        self.kind: Literal["timeout", "connection"] = kind


class Replay:
    """Chunks that were kept, to be read once more, with `for` or with `async for`."""

    def __init__(self, chunks: tuple[bytes, ...]) -> None:
        self._all = chunks
        self._chunks = iter(chunks)

    def again(self) -> Replay:
        """Return the same from the beginning, for another reader."""
        return Replay(self._all)

    def __iter__(self) -> Replay:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def __aiter__(self) -> Replay:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def header(headers: Headers, name: str) -> str | None:
    """Return the first value of `name` (given in lower case), or None."""
    length = len(name)
    for key, value in headers:
        if len(key) == length and key.lower() == name:
            return value
    return None


def stamped(headers: Headers, cache: str, attempts: int, backoff_s: float, cost_usd: float | None) -> Headers:
    """Return `headers` with what the client did written into them; a cost that is not known is left out."""
    ours = (CACHE, cache), (ATTEMPTS, str(attempts)), (BACKOFF, str(round(backoff_s * 1e6)) if backoff_s else "0")
    return (*headers, *ours) if cost_usd is None else (*headers, *ours, (COST, str(round(cost_usd * 1e6))))
