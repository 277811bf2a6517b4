"""A sender over blocking sockets, for `OpenAI`: an eighth of the CPU time of an httpx2 transport.

httptools, the parser of Node.js (llhttp), reads the answers; without it `OpenAI` uses httpx2.
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
from tailrace.client.senders.decoding import AnswerTooLarge, bounded, decoded, decoded_whole
from tailrace.client.wire import TRANSFER_HEADERS, Headers, Request, Response, Unanswered
from tailrace.protocol import media


class SocketSender:
    """Makes attempts over connections that are kept for `kept_s` after their last use. Safe for threads.

    `connections` limits the connections in use. `tls` makes the context for https. The timeouts of the httpx2 request
    that a request was made from apply, and its own `timeout_s`: to a whole answer, or to each wait of a stream.
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
        self._busy: set[Connection] = set()  # keeps a socket alive until the collector has taken its stream
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response[Iterator[bytes]]:
        times = Times(request)
        try:
            origin, netloc, target = _place(request.url)
            connection = self._acquire(origin, times)
            self._busy.add(connection)
            try:
                return self._exchange(connection, request, (netloc, target), times)
            except BaseException:
                self._drop(connection)
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

    def _exchange(
        self, connection: Connection, request: Request, place: tuple[str, str], times: Times
    ) -> Response[Iterator[bytes]]:
        connection.send(request, place, times)
        status, headers = connection.head(times)
        kept: Headers = tuple([pair for pair in headers if pair[0] not in TRANSFER_HEADERS])
        values = dict(headers)
        chunks = connection.chunks(times)
        encodings = ", ".join([value for name, value in headers if name == "content-encoding"])
        if status < 400 and not media.is_json(values.get("content-type", "")):
            times.stream()
            return Response(
                status, kept, self._streamed(connection, decoded(chunks, encodings) if encodings else chunks)
            )
        body = decoded_whole(chunks, encodings) if encodings else b"".join(bounded(chunks))
        self._keep(connection)
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
                self._keep(connection)
            else:
                self._drop(connection)

    def _acquire(self, origin: Origin, times: Times) -> Connection:
        """Return an open connection: the one used last, or a new one."""
        if not self._free.acquire(timeout=times.pool_s if times.pool_s is not None else -1):
            raise TimeoutError("no free connection")
        try:
            while True:
                with self._lock:
                    idle = self._idle.get(origin)
                    connection = idle.pop() if idle else None
                if connection is None:
                    return Connection(origin, self._open(origin, times))
                mine = connection.pid == os.getpid()  # after a fork, two processes would read each other's answers
                if mine and time.monotonic() - connection.used_at < self._kept_s and not _readable(connection.socket):
                    return connection
                connection.close()  # readable without a request: the other side has closed it
        except BaseException:
            self._free.release()
            raise

    def _open(self, origin: Origin, times: Times) -> socket.socket:
        opened = socket.create_connection((origin.host, origin.port), times.connect_s)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls().wrap_socket(opened, server_hostname=origin.host) if origin.tls else opened
        except BaseException:
            opened.close()
            raise

    def _keep(self, connection: Connection) -> None:
        if not connection.reusable():
            return self._drop(connection)
        self._busy.discard(connection)
        with self._lock:
            self._idle.setdefault(connection.origin, deque()).append(connection)
        return self._free.release()

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._busy.discard(connection)
        self._free.release()


@lru_cache(maxsize=256)
def _place(url: str) -> tuple[Origin, str, str]:
    """Return the origin to connect to, the host header, and the target of the request."""
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
    if isinstance(error, AnswerTooLarge):
        return Unanswered("too_large", str(error))
    return Unanswered("timeout" if isinstance(error, TimeoutError) else "connection", type(error).__name__)
