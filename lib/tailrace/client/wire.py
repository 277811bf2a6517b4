"""Requests and responses as they go over the wire; no SDK object is needed to make or to read one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from tailrace.headers import ATTEMPTS, BACKOFF, CACHE, COST

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values, each byte of the wire one character (Latin-1): no header is lost in whatever alphabet it is."""
Fields: TypeAlias = tuple[tuple[str, str], ...]
"""The text fields of a form, in order: a name may occur more than once."""
RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]
Stream = TypeVar("Stream", bound=AsyncIterator[bytes] | Iterator[bytes], default=AsyncIterator[bytes])

TRANSFER_HEADERS: Final = frozenset(
    {"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"}
)
"""Headers of an answer about its transfer, which a sender has undone when it hands the answer on."""
SENDER_HEADERS: Final = frozenset(
    {"content-length", "host", "connection", "transfer-encoding", "keep-alive", "accept-encoding"}
)
"""Headers of a request that a sender sets itself: it knows the connection and the encodings it can decode."""


@dataclass(slots=True)
class Upload:
    """A body that a sender reads piece by piece, for each attempt from its beginning: it is never in memory whole."""

    rewind: Callable[[], bool]
    """Goes back to the beginning; returns False when the body can be read only once."""
    form: Fields | None = None
    """The text fields, when the body is a form."""
    size_bytes: int | None = None
    body: Any = None
    """The stream that a sender reads."""


@dataclass(slots=True)
class Request:
    """One HTTP request. A blocking sender must keep `timeout_s`, the time left for this attempt, and `silence_s`."""

    method: str
    url: str
    headers: Headers
    body: bytes
    timeout_s: float | None = None
    extensions: Any = None
    """Passed from a transport to its own sender; nobody else reads it."""
    silence_s: float | None = None
    """The longest wait for the next bytes of a stream."""
    upload: Upload | None = None
    """In place of `body`, which is then empty."""

    def within(self, timeout_s: float | None, silence_s: float | None = None) -> Request:
        """Return the same request, to be answered within `timeout_s`."""
        return Request(
            self.method, self.url, self.headers, self.body, timeout_s, self.extensions, silence_s, self.upload
        )


@dataclass(slots=True)
class Response(Generic[Stream]):
    """One answer: its body is bytes, or a stream of chunks that can be read once."""

    status: int
    headers: Headers
    body: bytes | Stream
    key: str = ""
    """The cache key under which this answer is stored; "" when it is not."""
    failure: str = ""
    """The class of the error that came under a status of success; `status` is then the one that the error means."""


Missed: TypeAlias = Literal["timeout", "connection", "too_large"]


class Unanswered(Exception):
    """A sender got no answer, not all of it, or one that is too large to be kept. The cause is chained to it."""

    def __init__(self, kind: Missed, message: str) -> None:
        super().__init__(message)
        self.kind: Missed = kind


class Replay:
    """Stored chunks as a stream; iterate with `for` or with `async for`."""

    def __init__(self, chunks: tuple[bytes, ...]) -> None:
        self._all = chunks
        self._chunks = iter(chunks)

    def again(self) -> Replay:
        """Return the same stream from its beginning, for another reader."""
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


def received(raw: RawHeaders) -> Headers:
    """Return the headers of an answer, with lower-case names and without those about its transfer."""
    lowered = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
    return tuple([pair for pair in lowered if pair[0] not in TRANSFER_HEADERS])


def raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return `headers` as the bytes of the wire."""
    return [(octets(name), octets(value)) for name, value in headers]


def octets(text: str) -> bytes:
    """Return a name or a value as the bytes of the wire."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:  # it did not come over a wire, but from a store or a sender of the caller's own
        return text.encode("utf-8", "surrogateescape")


def header(headers: Headers, name: str) -> str | None:
    """Return the first value of `name` (given in lower case), or None."""
    length = len(name)
    for key, value in headers:
        if len(key) == length and key.lower() == name:
            return value
    return None


def stamped(headers: Headers, cache: str, attempts: int, backoff_s: float, cost_usd: float | None) -> Headers:
    """Return `headers` with those that say what the client did; an unknown cost is left out."""
    ours = (CACHE, cache), (ATTEMPTS, str(attempts)), (BACKOFF, str(round(backoff_s * 1e6)) if backoff_s else "0")
    return (*headers, *ours) if cost_usd is None else (*headers, *ours, (COST, str(round(cost_usd * 1e6))))
