"""Connections to one address: the most recently used is taken first, and a new one is opened when none is free."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from tailrace.errors import LoadError
from tailrace.load.http1 import HttpConnection

NEXT_ADDRESS_AFTER_S: Final = 0.25
"""The Connection Attempt Delay that RFC 8305 recommends."""


class ApiAddress(NamedTuple):
    """The parts of the URL of an API."""

    host: str
    port: int
    path: str
    secure: bool
    query: str = ""

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def target(self, path: str) -> str:
        """Return what a request line names: `path` below that of the API, with the query of its URL."""
        joined = _escaped(f"{self.path}{path}")
        if not self.query:
            return joined
        return f"{joined}{'&' if '?' in path else '?'}{_escaped(self.query)}"


def parse(url: str) -> ApiAddress:
    """Return the address in an http(s) URL, its path without a trailing slash; LoadError when it is not one."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError:  # a port out of range, a bracket that is not closed, a name that no host has
        parts, port, host = urlsplit(""), None, ""
    if parts.scheme not in {"http", "https"} or not host or parts.username:
        raise LoadError(f"{url!r} is not the URL of an API; expected http(s)://host[:port][/path][?query]")
    secure = parts.scheme == "https"
    return ApiAddress(host, port or (443 if secure else 80), parts.path.rstrip("/"), secure, parts.query)


def _escaped(target: str) -> str:
    """Return `target` without what would end it, or the request line, too early; escapes in it stay as they are."""
    return quote(target, safe="%/?:@!$&'()*+,;=~[]")


class Keeping:
    """Whether the server keeps a connection after an answer, by what it does and not by what it promises.

    Some close it after each stream, whatever their headers say (cpp-httplib, and so llama.cpp). As long as no
    connection has brought a second answer after one of the same kind, a request that got no byte on a connection that
    was used before is sent again, on the next one; after two such ends, connections are no longer used twice.
    """

    def __init__(self) -> None:
        self._kept = {True: False, False: False}
        self._closed = {True: 0, False: 0}

    def kept(self, chunked: bool) -> None:
        """A connection brought another answer after one that was `chunked`, or not."""
        self._kept[chunked] = True

    def closed(self, chunked: bool) -> None:
        """A connection ended right after an answer."""
        self._closed[chunked] += 1

    def known(self, chunked: bool) -> bool:
        """Whether a connection was kept once: an end without an answer is then a failure."""
        return self._kept[chunked]

    def worth_it(self, chunked: bool) -> bool:
        """Whether a connection may be kept for the next request."""
        return self._kept[chunked] or self._closed[chunked] < 2


class Pool:
    """At most `limit` connections; callers wait in turn while all are busy."""

    def __init__(self, address: ApiAddress, tls: ssl.SSLContext | None, limit: int) -> None:
        self._address = address
        self._tls = tls
        self._free_slots = limit
        self._idle: list[HttpConnection] = []
        self._queue: deque[asyncio.Future[None]] = deque()
        self._hosts: list[AddrInfoType] = []
        self.keeping = Keeping()

    async def acquire(self) -> HttpConnection:
        """Return a usable connection; OSError when none could be opened."""
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable:
                    return connection
                if connection.closed_at_once:
                    self.keeping.closed(connection.chunked)
                self._free_slots += 1
            if self._free_slots > 0:
                return await self._open()
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()  # the turn came just before the cancellation: pass it on
                raise

    def release(self, connection: HttpConnection) -> None:
        """Return a connection to the pool; close one that cannot be used again."""
        if connection.usable and self.keeping.worth_it(connection.chunked):
            self._idle.append(connection)
        else:
            connection.close()
            self._free_slots += 1
        self._next()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _next(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _open(self) -> HttpConnection:
        self._free_slots -= 1
        try:
            return await self._connect()
        except BaseException:
            self._free_slots += 1
            self._next()
            raise

    async def _connect(self) -> HttpConnection:
        """Connect to the first of the host's addresses that answers; it is tried first from then on.

        An address that does not answer within a quarter of a second gets company from the next one (RFC 8305).
        """
        loop = asyncio.get_running_loop()
        host, port = self._address.host, self._address.port
        if not self._hosts:
            self._hosts = list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        connected = await start_connection(self._hosts, happy_eyeballs_delay=NEXT_ADDRESS_AFTER_S, loop=loop)
        try:
            reached = connected.getpeername()[:2]
            self._hosts.sort(key=lambda known: known[4][:2] != reached)
            _, connection = await loop.create_connection(
                HttpConnection, sock=connected, ssl=self._tls, server_hostname=host if self._tls else None
            )
        except BaseException:
            connected.close()
            raise
        return connection
