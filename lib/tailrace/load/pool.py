"""Connections to one address: the most recently used is taken first, and a new one is opened when none is free."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import NamedTuple
from urllib.parse import urlsplit

from tailrace.errors import LoadError
from tailrace.load.http1 import HttpConnection


class ApiAddress(NamedTuple):
    """The parts of the URL of an API."""

    host: str
    port: int
    path: str
    secure: bool

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse(url: str) -> ApiAddress:
    """Return the address in an http(s) URL, its path without a trailing slash; LoadError when it is not one."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.username:
        raise LoadError(f"{url!r} is not the URL of an API; expected http(s)://host[:port][/path]")
    secure = parts.scheme == "https"
    return ApiAddress(parts.hostname, parts.port or (443 if secure else 80), parts.path.rstrip("/"), secure)


class Pool:
    """At most `limit` connections; callers wait in turn while all are busy."""

    def __init__(self, address: ApiAddress, tls: ssl.SSLContext | None, limit: int) -> None:
        self._address = address
        self._tls = tls
        self._free_slots = limit
        self._idle: list[HttpConnection] = []
        self._queue: deque[asyncio.Future[None]] = deque()
        self._hosts: list[str] = []

    async def acquire(self) -> HttpConnection:
        """Return a usable connection; OSError when none could be opened."""
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.usable:
                    return connection
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
        if connection.usable:
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
        """Try the host's addresses in turn; the one that answered is tried first from then on."""
        loop = asyncio.get_running_loop()
        if not self._hosts:
            infos = await loop.getaddrinfo(self._address.host, self._address.port, type=socket.SOCK_STREAM)
            self._hosts = list(dict.fromkeys(str(info[4][0]) for info in infos))
        name = self._address.host if self._tls else None
        for host in tuple(self._hosts):
            try:
                _, connection = await loop.create_connection(
                    HttpConnection, host, self._address.port, ssl=self._tls, server_hostname=name
                )
            except ConnectionRefusedError as error:
                refused = error
                continue
            self._hosts.sort(key=lambda known: known != host)
            return connection
        raise refused
