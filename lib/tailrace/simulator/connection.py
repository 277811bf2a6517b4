"""One HTTP/1.1 connection: requests are read, and answered in order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from typing import Protocol, cast

import httptools

from tailrace.simulator.access_log import AccessRecord
from tailrace.simulator.api_request import ApiRequest, split_target
from tailrace.simulator.delivery import Delivery
from tailrace.simulator.response_writer import ResponseWriter

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_WAITING = 64
"""Pipelined requests that may wait on one connection for the response before theirs."""
_REJECTED = b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Host(Protocol):
    """The server, as a connection sees it."""

    @property
    def connections(self) -> set[Connection]: ...

    @property
    def closing(self) -> bool: ...

    @property
    def log_tokens(self) -> bool: ...

    def respond(self, request: ApiRequest, peer: str) -> tuple[Delivery, str]: ...

    def record(self, access: AccessRecord) -> None: ...

    def forget(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Feeds the parser, and passes each request to the server."""

    def __init__(self, server: Host, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self._server = loop, server
        self.log_tokens = server.log_tokens
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._current: ResponseWriter | None = None
        self._waiting: deque[ApiRequest] = deque()
        self.peer = ""

    @property
    def idle(self) -> bool:
        return self._current is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        if self._current is not None:
            self._current.disconnected()
        self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        self._read_ns = time.perf_counter_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request is answered without the upgrade; the bytes after it are not HTTP
        except httptools.HttpParserError:
            self._reject(b"400 Bad Request")

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._arrival_ns = self._read_ns
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_BODY_BYTES:
            self._reject(b"413 Content Too Large")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._transport is None:
            return  # an earlier request in the same bytes has closed it
        path, query, deployment = split_target(self._url.decode("latin-1"))
        request = ApiRequest(
            self._parser.get_method().decode(), path, query, self._headers, b"".join(self._body), self._arrival_ns,
            self._parser.get_http_version(), self._parser.should_keep_alive(), deployment,
        )  # fmt: skip
        if self._current is None:
            self._start(request)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(request)
        else:
            self._reject(b"400 Bad Request")

    # Called by a response writer.

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self, *, reset: bool) -> None:
        """Close the connection; with `reset` by a TCP reset, which drops the bytes not yet sent."""
        self._waiting.clear()
        transport, self._transport = self._transport, None
        if transport is None:
            return
        if not reset:
            transport.close()
            return
        with contextlib.suppress(OSError):
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    def ended(self, access: AccessRecord) -> None:
        """Record the end of a request, and start the next one."""
        self._current = None
        self._server.record(access)
        if self._server.closing:
            self.end(reset=False)
        elif self._waiting:
            self._start(self._waiting.popleft())

    def _start(self, request: ApiRequest) -> None:
        delivery, request_id = self._server.respond(request, self.peer)
        self._current = ResponseWriter(self, request, delivery, request_id)
        self._current.advance()

    def _reject(self, status: bytes) -> None:
        self.write(_REJECTED % status)
        self.end(reset=False)
