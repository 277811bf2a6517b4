"""Lean attempts over blocking sockets, for `OpenAI`: HTTP/1.1 by h11, a third of the CPU of an httpx2 transport.

h11 is what httpx2 itself speaks HTTP with; here it has no layers above it.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import h11

from tailrace.client.wire import Headers, Request, Response, Unanswered

_OF_THE_WAY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})
_NOT_SENT: Final = frozenset(
    {"content-length", "host", "connection", "transfer-encoding", "keep-alive", "accept-encoding"}
)
_READ_BYTES: Final = 64 << 10


class Origin(NamedTuple):
    host: str
    port: int
    tls: bool


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
        self._idle: dict[Origin, deque[_Connection]] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response[Iterator[bytes]]:
        times = _Times(request)
        try:
            origin, netloc, target = _place(request.url)
            connection = self._taken(origin, times)
            try:
                return self._asked(connection, request, (netloc, target), times)
            except BaseException:
                self._dropped(connection)
                raise
        except (OSError, h11.ProtocolError, zlib.error) as error:
            raise _unanswered(error) from error

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, {}
        for kept in idle.values():
            for connection in kept:
                connection.socket.close()

    def __del__(self) -> None:
        self.close()

    def _asked(
        self, connection: _Connection, request: Request, place: tuple[str, str], times: _Times
    ) -> Response[Iterator[bytes]]:
        connection.send(request, place, times)
        head = connection.head(times)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        kept: Headers = tuple([pair for pair in headers if pair[0] not in _OF_THE_WAY])
        told = dict(headers)
        chunks = connection.chunks(times, told.get("content-encoding", ""))
        if head.status_code < 400 and not told.get("content-type", "").startswith("application/json"):
            times.until = None  # a stream may last; each of its waits may not
            return Response(head.status_code, kept, self._streamed(connection, chunks))
        body = b"".join(chunks)
        self._returned(connection)
        return Response(head.status_code, kept, body)

    def _streamed(self, connection: _Connection, chunks: Iterator[bytes]) -> Iterator[bytes]:
        whole = False
        try:
            yield from chunks
            whole = True
        except (OSError, h11.ProtocolError, zlib.error) as error:
            raise _unanswered(error) from error
        finally:
            if whole:
                self._returned(connection)
            else:
                self._dropped(connection)

    def _taken(self, origin: Origin, times: _Times) -> _Connection:
        """Return a connection that is still open, the one used last if there is one."""
        if not self._free.acquire(timeout=times.pool_s if times.pool_s is not None else -1):
            raise TimeoutError("no free connection")
        try:
            while True:
                with self._lock:
                    idle = self._idle.get(origin)
                    connection = idle.pop() if idle else None
                if connection is None:
                    return _Connection(origin, self._opened(origin, times))
                if time.monotonic() - connection.used_at < self._kept_s and not _readable(connection.socket):
                    return connection
                connection.socket.close()  # what can be read of a connection without a question is its end
        except BaseException:
            self._free.release()
            raise

    def _opened(self, origin: Origin, times: _Times) -> socket.socket:
        opened = socket.create_connection((origin.host, origin.port), times.connect_s)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._tls().wrap_socket(opened, server_hostname=origin.host) if origin.tls else opened
        except BaseException:
            opened.close()
            raise

    def _returned(self, connection: _Connection) -> None:
        if not connection.reusable():
            return self._dropped(connection)
        with self._lock:
            self._idle.setdefault(connection.origin, deque()).append(connection)
        return self._free.release()

    def _dropped(self, connection: _Connection) -> None:
        connection.socket.close()
        self._free.release()


class _Times:
    """How long each step may take, seconds; `until` is when all of it has to be over."""

    def __init__(self, request: Request) -> None:
        extensions: Any = getattr(request.extensions, "extensions", {})
        steps: dict[str, float | None] = extensions.get("timeout") or {}
        most = request.timeout_s
        self.connect_s = _least(steps.get("connect"), most)
        self.write_s = _least(steps.get("write"), most)
        self.read_s = _least(steps.get("read"), most)
        self.pool_s = _least(steps.get("pool"), most)
        self.until = None if most is None else time.monotonic() + most

    def left_s(self, step_s: float | None) -> float | None:
        if self.until is None:
            return step_s
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        return _least(step_s, left)


class _Connection:
    """A socket and what was said on it."""

    def __init__(self, origin: Origin, opened: socket.socket) -> None:
        self.origin = origin
        self.socket = opened
        self.used_at = 0.0
        self._http = h11.Connection(h11.CLIENT)

    def send(self, request: Request, place: tuple[str, str], times: _Times) -> None:
        netloc, target = place
        headers = [("host", netloc), ("accept-encoding", "gzip")]
        headers += [pair for pair in request.headers if pair[0].lower() not in _NOT_SENT]
        if request.body or request.method not in ("GET", "HEAD"):
            headers.append(("content-length", str(len(request.body))))
        said = self._http.send(h11.Request(method=request.method, target=target, headers=headers)) or b""
        if request.body:
            said += self._http.send(h11.Data(request.body)) or b""
        said += self._http.send(h11.EndOfMessage()) or b""
        self.socket.settimeout(times.left_s(times.write_s))
        self.socket.sendall(said)

    def head(self, times: _Times) -> h11.Response:
        while True:
            event = self._next(times)
            if isinstance(event, h11.Response):
                return event

    def chunks(self, times: _Times, encoding: str) -> Iterator[bytes]:
        """Yield what the body holds, unpacked; raise when it ends too early."""
        unpacking = zlib.decompressobj(47) if encoding in ("gzip", "x-gzip", "deflate") else None
        while not isinstance(event := self._next(times), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                data = bytes(event.data)
                data = unpacking.decompress(data) if unpacking is not None else data
                if data:
                    yield data
        if unpacking is not None and not unpacking.eof:
            raise ConnectionError("a packed answer was cut")

    def reusable(self) -> bool:
        """Make ready for the next request, and say whether there may be one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        self.used_at = time.monotonic()
        return True

    def _next(self, times: _Times) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self.socket.settimeout(times.left_s(times.read_s))
            self._http.receive_data(self.socket.recv(_READ_BYTES))
        return event


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


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _unanswered(error: Exception) -> Unanswered:
    return Unanswered("timeout" if isinstance(error, TimeoutError) else "connection", type(error).__name__)
