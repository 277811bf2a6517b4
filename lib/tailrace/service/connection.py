"""One caller's connection: uvicorn's parser, with limits on what it takes before a handler sees anything of it.

uvicorn itself bounds neither a head nor what frames a body. A request that comes whole in one piece pays only two
comparisons for these limits.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tailrace.service.http_response import HttpResponse, error_response, overloaded

PIECE_BYTES: Final = 64 << 10
"""So much is parsed before it is checked. What frames a body (sizes of chunks, extensions, trailers) may be as much."""
HEADERS: Final = 1024
"""The edge lets 1,000 through, and adds a few."""
BYTES_PER_CHUNK: Final = 16
"""What may frame one byte of a body, when each comes in a chunk of its own."""
PIPELINED: Final = 64
"""Requests that may wait on a connection for the answers before theirs."""
LINGER_BYTES: Final = 256 << 10
"""So much of what still comes after a refusal is read, so that the caller gets that and no reset."""
HEALTH: Final = (b"/healthz", b"/readyz")
"""Answered also to callers beyond the limit of connections."""
_REFUSED: Final = {
    400: b"HTTP/1.1 400 Bad Request\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n",
    503: b"HTTP/1.1 503 Service Unavailable\r\n",
}


class Connection(HttpToolsProtocol):
    """uvicorn's protocol, which answers what is no HTTP/1.1, or too large, in OpenAI's shape."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.made_at = self.loop.time()
        self.turned_away = False
        """Whether it is beyond the limit of connections."""
        self.refused = False
        """Whether the caller has got a refusal, which is the last answer here."""
        self._body_bytes = 0
        """Of the latest piece."""
        self._before: Any = None
        """The request that had begun before the latest piece."""
        self._frame_bytes = 0
        """What came of the message that is not whole, without its body."""
        self._refusal: HttpResponse | None = None
        self._most_head_bytes: int = self.server_state.head_bytes  # type: ignore[attr-defined]

    @property
    def unfinished(self) -> Any:
        """The scope of the request whose head or body is not whole; None when there is none."""
        return None if self.scope is None or (self._in_time and not self.cycle.more_body) else self.scope

    @property
    def idle(self) -> bool:
        """Whether nothing is being done for the caller: a request has to come, or to come whole."""
        return self.refused or (
            not self.pipeline and (self.cycle is None or self.cycle.response_complete or self.cycle.more_body)
        )

    @property
    def _in_time(self) -> bool:
        """Whether the head of the newest request is whole."""
        return self.cycle is not None and self.cycle.scope is self.scope

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.server_state.made(self)  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.refused:
            self.server_state.refused.pop(self, None)  # type: ignore[attr-defined]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.refused:
            self._frame_bytes += len(data)
            if self._frame_bytes > LINGER_BYTES:
                self.transport.pause_reading()
            return
        if len(data) <= PIECE_BYTES:
            self._receive(data)
            return
        for start in range(0, len(data), PIECE_BYTES):  # so each piece is checked before the next one is read
            if not (self.refused or self.transport.is_closing()):
                self._receive(data[start : start + PIECE_BYTES])

    def _receive(self, data: bytes) -> None:
        self._before, self._body_bytes = self.scope, 0
        super().data_received(data)
        cycle = self.cycle
        if self.refused:
            return
        if cycle is not None and cycle.scope is self.scope and not cycle.more_body:
            self._frame_bytes = 0
            return
        if self.scope is self._before:
            self._frame_bytes = max(0, self._frame_bytes + len(data) - BYTES_PER_CHUNK * self._body_bytes)
        else:
            self._frame_bytes = 0 if self._in_time else self._head_bytes()
        most_bytes = PIECE_BYTES if self._in_time else self._most_head_bytes
        if self._frame_bytes > most_bytes and not self.transport.is_closing():
            self._refuse(self._too_large())

    def on_headers_complete(self) -> None:
        one_piece = self.scope is not self._before and self._most_head_bytes >= PIECE_BYTES
        if len(self.headers) > HEADERS or not (one_piece or self._head_bytes() <= self._most_head_bytes):
            self._refusal = self._too_large()
            raise ValueError
        if self.turned_away and not self.url.startswith(HEALTH):
            self._refusal = overloaded("as many connections as it may have")
            raise ValueError
        if len(self.pipeline) >= PIPELINED:
            raise ValueError
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser refuses."""
        self._refuse(self._refusal or error_response(400, "The request is not valid HTTP/1.1.", "malformed_request"))

    def _refuse(self, response: HttpResponse) -> None:
        """Answer in place of a handler, unless that has begun or an earlier request is to be answered first; close."""
        cycle, body = self.cycle, response.body
        assert isinstance(body, bytes)
        if cycle is None or cycle.response_complete or (self._in_time and not cycle.response_started):
            fields = [*self.server_state.default_headers, *response.headers, (b"connection", b"close")]
            fields.append((b"content-length", b"%d" % len(body)))
            head = b"".join(b"%b: %b\r\n" % field for field in fields)
            self.transport.write(_REFUSED[response.status] + head + b"\r\n" + body)
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close once the caller has done so, or in a moment: at once, what he still sends would cut the answer off."""
        self.refused, self._frame_bytes = True, 0
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.server_state.refused[self] = None  # type: ignore[attr-defined]
        self.transport.write_eof()
        self.loop.call_later(self.server_state.linger_s, self.transport.abort)  # type: ignore[attr-defined]

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _too_large(self) -> HttpResponse:
        message = f"The request's head has more than {HEADERS} headers or {self._most_head_bytes} bytes."
        return error_response(431, message, "headers_too_large")
