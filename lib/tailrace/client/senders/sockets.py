"""Lean attempts over blocking sockets, for `OpenAI`: an eighth of the CPU of an httpx2 transport.

Answers are read by httptools, the parser of Node.js (llhttp); without it `OpenAI` makes its attempts by httpx2.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from urllib.parse import urlsplit

from tailrace.client.senders.connection import FAILURES, Connection, Origin, Times
from tailrace.client.wire import OF_THE_WAY, Headers, Request, Response, Unanswered


class SocketSender:
    """One attempt over connections that are kept for `kept_s` after their last use. Safe for threads.

    `connections` bounds what is in use at once. `tls` makes the context for https. The timeouts of the httpx2 request
    that a request was made of hold, and its own `timeout_s`: of a whole answer to its end, of a stream for each wait.
    """

    def __init__(
        self,
        *,
        connections: int = 1000,
        kept_s: float = 5.0,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._kept_s = kept_s
        self._tls = lru_cache(maxsize=1)(tls)
        self._free = threading.BoundedSemaphore(connections)
        self._idle: dict[Origin, deque[Connection]] = {}
        self._busy: set[Connection] = set()  # held here: else the collector may take a socket before its stream
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response[Iterator[bytes]]:
        times = Times(request)
        try:
            origin, netloc, target = _place(request.url)
            connection = self._taken(origin, times)
            self._busy.add(connection)
            try:
                return self._asked(connection, request, (netloc, target), times)
            except BaseException:
                self._dropped(connection)
                raise
        except FAILURES as error:
            raise _unanswered(error) from error

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, {}
        for kept in idle.values():
            for connection in kept:
                connection.close()

    def __del__(self) -> None:
        self.close()

    def _asked(
        self, connection: Connection, request: Request, place: tuple[str, str], times: Times
    ) -> Response[Iterator[bytes]]:
        connection.send(request, place, times)
        status, headers = connection.head(times)
        kept: Headers = tuple([pair for pair in headers if pair[0] not in OF_THE_WAY])
        told = dict(headers)
        chunks = connection.chunks(times, told.get("content-encoding", ""))
        if status < 400 and not told.get("content-type", "").startswith("application/json"):
            times.until = None  # a stream may last; each of its waits may not
            return Response(status, kept, self._streamed(connection, chunks))
        body = b"".join(chunks)
        self._returned(connection)
        return Response(status, kept, body)

    def _streamed(self, connection: Connection, chunks: Iterator[bytes]) -> Iterator[bytes]:
        whole = False
        try:
            yield from chunks
            whole = True
        except FAILURES as error:
            raise _unanswered(error) from error
        finally:
            if whole:
                self._returned(connection)
            else:
                self._dropped(connection)

    def _taken(self, origin: Origin, times: Times) -> Connection:
        """Return a connection that is still open, the one used last if there is one."""
        if not self._free.acquire(timeout=times.pool_s if times.pool_s is not None else -1):
            raise TimeoutError("no free connection")
        try:
            while True:
                with self._lock:
                    idle = self._idle.get(origin)
                    connection = idle.pop() if idle else None
                if connection is None:
                    return Connection(origin, self._opened(origin, times))
                mine = connection.pid == os.getpid()  # after a fork, two processes would read each other's answers
                if mine and time.monotonic() - connection.used_at < self._kept_s and not _readable(connection.socket):
                    return connection
                connection.close()  # what can be read of a connection without a question is its end
        except BaseException:
            self._free.release()
            raise

    def _opened(self, origin: Origin, times: Times) -> socket.socket:
        opened = socket.create_connection((origin.host, origin.port), times.connect_s)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls().wrap_socket(opened, server_hostname=origin.host) if origin.tls else opened
        except BaseException:
            opened.close()
            raise

    def _returned(self, connection: Connection) -> None:
        if not connection.reusable():
            return self._dropped(connection)
        self._busy.discard(connection)
        with self._lock:
            self._idle.setdefault(connection.origin, deque()).append(connection)
        return self._free.release()

    def _dropped(self, connection: Connection) -> None:
        connection.close()
        self._busy.discard(connection)
        self._free.release()


@lru_cache(maxsize=256)
def _place(url: str) -> tuple[Origin, str, str]:
    """Return where to connect to, the host header, and the target of the request."""
    scheme, netloc, path, query, _fragment = urlsplit(url)
    netloc = netloc.rpartition("@")[2]
    parts = urlsplit(f"//{netloc}")
    secure = scheme == "https"
    origin = Origin(parts.hostname or "", parts.port or (443 if secure else 80), secure)
    return origin, netloc, (path or "/") + (f"?{query}" if query else "")


def _readable(kept: socket.socket) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([kept], [], [], 0)[0])
    poll = select.poll()
    poll.register(kept, select.POLLIN)
    return bool(poll.poll(0))


def _unanswered(error: Exception) -> Unanswered:
    return Unanswered("timeout" if isinstance(error, TimeoutError) else "connection", type(error).__name__)
