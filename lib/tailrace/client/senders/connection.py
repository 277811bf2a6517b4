"""One HTTP/1.1 connection over a blocking socket; httptools parses the answers."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import httptools
import httpx2

from tailrace.client.senders.decoding import ACCEPTED
from tailrace.client.senders.fallback_parser import LONG_HEAD, MOST_HEAD_BYTES, MOST_KEPT_BYTES, FallbackParser
from tailrace.client.wire import SENDER_HEADERS, Headers, Request
from tailrace.protocol.encoding import EncodingError

FAILURES: Final = (
    OSError, httptools.HttpParserError, httptools.HttpParserUpgrade, EncodingError, httpx2.DecodingError
)  # fmt: skip
_READ_BYTES: Final = 64 << 10
_LINES: Final = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\r\n\0]*\r\n)*")
_WORDS: Final = re.compile(r"[!-~]+ [!-~]+")


class Origin(NamedTuple):
    host: str
    port: int
    tls: bool


class Times:
    """How long each step may take, in seconds; `until` is the end of the whole attempt."""

    def __init__(self, request: Request) -> None:
        extensions: Any = getattr(request.extensions, "extensions", {})
        steps: dict[str, float | None] = extensions.get("timeout") or {}
        most = request.timeout_s
        self.connect_s = _least(steps.get("connect"), most)
        self.write_s = _least(steps.get("write"), most)
        self.read_s = _least(steps.get("read"), most)
        self.pool_s = _least(steps.get("pool"), most)
        self.until = None if most is None else time.monotonic() + most
        self._between_s = _least(steps.get("read"), request.silence_s)

    def stream(self) -> None:
        """Note that the answer is a stream, which may last long: only each wait is limited."""
        self.until, self.read_s = None, self._between_s

    def left_s(self, step_s: float | None) -> float | None:
        if self.until is None:
            return step_s
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        return _least(step_s, left)


class Connection:
    """A socket, and the answer that is being read from it."""

    def __init__(self, origin: Origin, opened: socket.socket) -> None:
        self.origin = origin
        self.socket = opened
        self.used_at = 0.0
        self.pid = os.getpid()
        self._parser: Any = httptools.HttpResponseParser(self)
        self._reset("")

    def _reset(self, method: str) -> None:
        self._method = method
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []
        self._body_bytes = self._raw_bytes = 0
        self._raw: list[bytes] | None = []
        self._fallback: FallbackParser | None = None
        self._framed = self._whole = self._ended = self._kept = self._cut_off = False

    def send(self, request: Request, place: tuple[str, str], times: Times) -> None:
        """Send `request`. A connection that breaks meanwhile is read all the same: a refusal may have come before."""
        netloc, target = place
        self._reset(request.method)
        headers = [("host", netloc), ("accept-encoding", ACCEPTED)]
        headers += [pair for pair in request.headers if pair[0].lower() not in SENDER_HEADERS]
        if request.body or request.method not in ("GET", "HEAD"):
            headers.append(("content-length", str(len(request.body))))
        head = _head(f"{request.method} {target}", headers)
        self.socket.settimeout(times.left_s(times.write_s))
        try:
            self.socket.sendall(head + request.body)
        except TimeoutError:
            raise
        except OSError:
            self._cut_off = True

    def head(self, times: Times) -> tuple[int, list[tuple[str, str]]]:
        while not self._status:
            self._read(times)
        return self._status, self._headers

    def chunks(self, times: Times) -> Iterator[bytes]:
        """Yield the body as it came; raise when it ends too early."""
        while True:
            pieces, self._body = self._body, []
            yield from pieces
            if self._whole and not self._body:
                break
            self._read(times)

    def reusable(self) -> bool:
        """Note the end of an answer; return whether the connection can be used again."""
        self.used_at = time.monotonic()
        return self._whole and self._kept and not self._cut_off

    def close(self) -> None:
        self.socket.close()
        self._parser = None  # it holds this object: break the cycle

    def _read(self, times: Times) -> None:
        self.socket.settimeout(times.left_s(times.read_s))
        data = self.socket.recv(_READ_BYTES)
        if self._fallback is not None:
            self._read_again(self._fallback, data)
        elif data:
            if self._raw is not None:
                self._raw.append(data)
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                self._refused(error)
            else:
                if self._raw is not None:
                    self._bound(len(data))
        elif self._status and not self._framed:
            self._whole = True  # without a length, the end of the connection ends the answer
        else:
            raise ConnectionError("an answer was cut")

    def _bound(self, read_bytes: int) -> None:
        """Raise where a head is too long; forget what came once enough of it was read well."""
        self._raw_bytes += read_bytes
        if not self._status and self._raw_bytes > MOST_HEAD_BYTES:
            raise ConnectionError(LONG_HEAD)
        if self._raw_bytes > MOST_KEPT_BYTES:
            self._raw = None

    def _refused(self, error: Exception) -> None:
        """Have h11 read what llhttp refuses, unless it comes after a whole answer or late in a long one."""
        self._kept = False
        if self._whole:
            return
        if self._raw is None:
            raise error
        self._fallback = FallbackParser(self._method)
        self._read_again(self._fallback, b"".join(self._raw), self._body_bytes)
        self._raw = None

    def _read_again(self, fallback: FallbackParser, data: bytes, passed_bytes: int = 0) -> None:
        body = fallback.feed(data)[passed_bytes:]
        if fallback.status and not self._status:
            self._status = fallback.status
            self._headers = [(name.decode("latin-1").lower(), value.decode("latin-1"))
                             for name, value in fallback.headers]  # fmt: skip
        if body:
            self._body.append(body)
        self._whole = fallback.whole

    # Called by the parser. It goes on to read trailers, and whatever comes after the answer.

    def on_message_begin(self) -> None:
        self._kept = False  # bytes after a complete answer: do not reuse the connection

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:
            return
        lower = name.decode("latin-1").lower()
        self._framed = self._framed or lower in ("content-length", "transfer-encoding")
        if lower == "transfer-encoding" and value.lower() != b"chunked":
            raise ConnectionError("an unknown transfer encoding")  # h11 judges it
        self._headers.append((lower, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 100:
            raise ConnectionError("a status below 100")  # h11 judges it
        if status >= 200 and not self._status:
            self._status = status
            self._whole = status in (204, 304) or self._method == "HEAD"

    def on_body(self, data: bytes) -> None:
        if not self._whole:
            self._body.append(data)
            self._body_bytes += len(data)

    def on_message_complete(self) -> None:
        if not self._status:  # an interim response (1xx); the answer is still to come
            self._headers, self._framed = [], False
        elif not self._ended:
            self._whole = self._ended = True
            self._kept = self._parser.should_keep_alive()


def _head(line: str, headers: Headers | list[tuple[str, str]]) -> bytes:
    """Return the head of a request. Raise ConnectionError when it would be read as something else."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\r\n") != len(headers) or not _LINES.fullmatch(lines) or not _WORDS.fullmatch(line):
        raise ConnectionError("the method, the URL or a header holds characters that are not allowed")
    return f"{line} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)
