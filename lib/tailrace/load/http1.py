"""HTTP/1.1 on an asyncio protocol: one request at a time on each connection, times taken where the bytes arrive.

General clients cost 100 to 1,500 µs of CPU a call; this one about 30, so that a measured delay is the service's.
It supports requests that are whole in memory, keep-alive, chunked and plain bodies, and nothing else.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import httptools

from tailrace.headers import ATTEMPTS, BACKOFF, CACHE, COLOUR, COST, GENERATION, RELEASE

KEPT = frozenset(
    name.encode()
    for name in (
        "content-type", "content-length", "transfer-encoding",
        RELEASE, COLOUR, GENERATION, CACHE, ATTEMPTS, BACKOFF, COST,
    )
)  # fmt: skip
"""The headers of an answer that are read; all others are dropped."""


class HttpAnswer:
    """One answer, as far as it arrived."""

    __slots__ = ("body", "broken", "first_ns", "headers", "last_ns", "status", "whole")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body: list[bytes] = []
        self.first_ns = 0
        self.last_ns = 0
        self.whole = False
        self.broken = ""
        """Why it is not whole: "reset" or "garbage"."""


class HttpConnection(asyncio.Protocol):
    """One connection; call `request` only after the previous answer."""

    def __init__(self) -> None:
        self.usable = False
        self._transport: asyncio.Transport
        self._parser: Any = None
        self._reply: HttpAnswer | None = None
        self._waiter: asyncio.Future[HttpAnswer] | None = None
        self._fresh_parser()

    def request(self, message: bytes) -> asyncio.Future[HttpAnswer]:
        """Send `message`; the future gets the answer, broken or whole, and never an exception."""
        waiter: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._waiter, self._reply = waiter, HttpAnswer()
        if self.usable:
            self._transport.write(message)
        else:
            self._end("reset")
        return waiter

    def close(self) -> None:
        self.usable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end("garbage")
            self.close()

    def eof_received(self) -> bool:
        self.usable = False
        if self._reply is not None and self._until_eof(self._reply):
            self.on_message_complete()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        self._end("reset")
        self._parser = None  # it refers to this object: break the cycle

    # What the parser calls, in this order.

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in KEPT and self._reply is not None:
            self._reply.headers[name] = value

    def on_headers_complete(self) -> None:
        if self._reply is not None:
            self._reply.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        reply = self._reply
        if reply is not None:
            if not reply.first_ns:
                reply.first_ns = time.perf_counter_ns()
            reply.body.append(data)

    def on_message_complete(self) -> None:
        reply = self._reply
        if reply is not None and 100 <= reply.status < 200:
            reply.headers.clear()
            return
        if not self._parser.should_keep_alive():
            self.usable = False
        self._fresh_parser()
        self._end("")

    def _end(self, broken: str) -> None:
        reply, waiter = self._reply, self._waiter
        self._reply = self._waiter = None
        if reply is None or waiter is None:
            return
        reply.last_ns, reply.broken, reply.whole = time.perf_counter_ns(), broken, not broken
        if not waiter.done():
            waiter.set_result(reply)

    def _fresh_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    @staticmethod
    def _until_eof(reply: HttpAnswer) -> bool:
        """Return whether only the end of the connection ends the body."""
        framed = b"content-length" in reply.headers or b"transfer-encoding" in reply.headers
        return reply.status >= 200 and not framed
