"""HTTP/1.1 on an asyncio protocol: one request at a time on each connection, times taken where the bytes arrive.

General clients cost 100 to 1,500 µs of CPU a call; this one about 30, so that a measured delay is the service's.
It supports requests that are whole in memory, keep-alive, chunked and plain bodies, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import httptools

from tailrace.headers import ATTEMPTS, BACKOFF, CACHE, COLOUR, COST, GENERATION, RELEASE

TYPE: Final = b"content-type"
ENCODING: Final = b"content-encoding"
KEPT: Final = frozenset(
    (
        TYPE, ENCODING, b"content-length", b"transfer-encoding",
        *(name.encode() for name in (RELEASE, COLOUR, GENERATION, CACHE, ATTEMPTS, BACKOFF, COST)),
    )
)  # fmt: skip
"""The headers of an answer that are read; all others are dropped."""
RESET: Final = "reset"
GARBAGE: Final = "garbage"
MOST_FRAMING_BYTES: Final = 100 << 10
"""The most bytes of heads, interim answers, sizes of chunks and trailers that one answer may have."""
_FRAMING_PER_BYTE: Final = 16
"""Beyond that: a stream has a chunk, with its size, for a few bytes of body."""
AT_ONCE_NS: Final = 100_000_000
END_WITHIN_S: Final = 1.0
"""How long the end of a body is awaited when its reader has all that it needs, so that the connection can be kept."""


class BodyReader(Protocol):
    """Reads a body while it comes."""

    @property
    def over(self) -> bool:
        """Whether nothing more is to come, although the body has not ended."""

    def feed(self, data: bytes, at_ns: int) -> None:
        """Read the next bytes, which came at `at_ns`."""


class HttpAnswer:
    """One answer, as far as it arrived; times are `perf_counter_ns`, taken when its bytes were received."""

    __slots__ = ("broken", "byte_ns", "headers", "last_ns", "reader", "status", "whole")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.reader: BodyReader | None = None
        """Has read the body so far; None when nobody reads it."""
        self.byte_ns = 0
        """The first byte of the body."""
        self.last_ns = 0
        self.whole = False
        self.broken = ""
        """Why it is not whole: RESET or GARBAGE."""


ReaderOf = Callable[[HttpAnswer], BodyReader | None]
"""Chooses the reader of a body once the head of the answer is there."""


class HttpConnection(asyncio.Protocol):
    """One connection; call `request` only after the previous answer."""

    def __init__(self) -> None:
        self.usable = False
        self.answers = 0
        """How many it has brought, whole."""
        self.chunked = False
        """Whether the last answer was of no known length, as streams are."""
        self.closed_at_once = False
        """The server closed it right after an answer, although it had promised to keep it."""
        self._answered_ns = 0
        self._transport: asyncio.Transport
        self._parser: Any = None
        self._reply: HttpAnswer | None = None
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._reader_of: ReaderOf | None = None
        self._at_ns = 0
        self._framing_left = MOST_FRAMING_BYTES
        self._leaving: asyncio.TimerHandle | None = None
        self._fresh_parser()

    def request(self, message: bytes, reader_of: ReaderOf | None = None) -> asyncio.Future[HttpAnswer]:
        """Send `message`; the future gets the answer, broken or whole, and an exception only from a reader's bug."""
        waiter: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._waiter, self._reply, self._reader_of = waiter, HttpAnswer(), reader_of
        self._framing_left = MOST_FRAMING_BYTES
        if self.usable:
            self._transport.write(message)
        else:
            self._at_ns = time.perf_counter_ns()
            self._end(RESET)
        return waiter

    def close(self) -> None:
        self.usable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        self._at_ns = time.perf_counter_ns()
        self._framing_left -= len(data)  # `on_body` gives back what was no framing
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._raise(error.__context__ or error)
        except httptools.HttpParserError:
            self._end(GARBAGE)
            self.close()
        else:
            if self._framing_left < 0:
                self._end(GARBAGE)
                self.close()
            elif self._framing_left > MOST_FRAMING_BYTES:
                self._framing_left = MOST_FRAMING_BYTES
            if self._reply is not None and self._reply.reader is not None and self._reply.reader.over:
                self._await_end(self._at_ns)

    def eof_received(self) -> bool:
        self._note_close()
        if self._reply is not None and self._until_eof(self._reply):
            self.on_message_complete()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._note_close()
        self._end(RESET)
        self._parser = None  # it refers to this object: break the cycle

    # What the parser calls, in this order.

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self._reply is None:
            self.usable = False  # an answer that nobody asked for, which the next request must not get
        elif name in KEPT:
            headers, value = self._reply.headers, value.strip()
            headers[name] = b"%b, %b" % (headers[name], value) if name == ENCODING and name in headers else value

    def on_headers_complete(self) -> None:
        reply = self._reply
        if reply is not None:
            reply.status = self._parser.get_status_code()
            if self._reader_of is not None and reply.status >= 200:
                reply.reader = self._reader_of(reply)

    def on_body(self, data: bytes) -> None:
        reply = self._reply
        self._framing_left += len(data) * (1 + _FRAMING_PER_BYTE)
        if reply is not None:
            if not reply.byte_ns:
                reply.byte_ns = self._at_ns
            if reply.reader is not None:
                reply.reader.feed(data, self._at_ns)

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is not None and 100 <= reply.status < 200:
            reply.headers.clear()
            return
        if not self._parser.should_keep_alive():
            self.usable = False
        if reply is not None:
            self.answers += 1
            self.chunked, self._answered_ns = b"transfer-encoding" in reply.headers, self._at_ns
        self._fresh_parser()
        self._end("")

    def _note_close(self) -> None:
        self._at_ns = time.perf_counter_ns()
        if self.usable and self._reply is None:
            self.closed_at_once = self._at_ns - self._answered_ns < AT_ONCE_NS
        self.usable = False

    def _end(self, broken: str) -> None:
        reply, waiter = self._reply, self._waiter
        self._reply = self._waiter = None
        if reply is None or waiter is None:
            return
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        reply.last_ns, reply.broken, reply.whole = self._at_ns, broken, not broken
        if not waiter.done():
            waiter.set_result(reply)

    def _await_end(self, over_ns: int) -> None:
        """Wait a little for the end of a body that says no more."""
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().call_later(END_WITHIN_S, self._leave, over_ns)

    def _leave(self, over_ns: int) -> None:
        self._at_ns = over_ns
        self._end("")
        self.close()

    def _raise(self, error: BaseException) -> None:
        waiter, self._reply, self._waiter = self._waiter, None, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.close()

    def _fresh_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    @staticmethod
    def _until_eof(reply: HttpAnswer) -> bool:
        """Return whether only the end of the connection ends the body."""
        framed = b"content-length" in reply.headers or b"transfer-encoding" in reply.headers
        return reply.status >= 200 and not framed
