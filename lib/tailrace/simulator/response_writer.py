"""Writes one delivery to a connection: each part at its time, then the ending."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Protocol

from tailrace.simulator.access_log import AccessRecord
from tailrace.simulator.api_request import ApiRequest
from tailrace.simulator.delivery import Delivery, Ending

TICK_S = 0.0005
"""Parts that are due within it are sent together: the event loop's timers have a resolution of 1 ms."""
LAST_CHUNK = b"0\r\n\r\n"
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Wire(Protocol):
    """The connection, as a writer sees it."""

    loop: asyncio.AbstractEventLoop
    log_tokens: bool

    def write(self, data: bytes) -> None: ...

    def end(self, *, reset: bool) -> None: ...

    def ended(self, access: AccessRecord) -> None: ...


class ResponseWriter:
    """Sends one delivery; exactly one of `_finish` and `disconnected` ends it."""

    __slots__ = (
        "_bytes", "_chunked", "_connection", "_delivery", "_first_ns", "_keep", "_last_ns", "_request", "_request_id",
        "_sent", "_start_ns", "_timer", "_writes",
    )  # fmt: skip

    def __init__(self, connection: Wire, request: ApiRequest, delivery: Delivery, request_id: str) -> None:
        self._connection, self._request, self._delivery, self._request_id = connection, request, delivery, request_id
        self._keep, self._chunked = request.keep_alive, request.version == "1.1"
        self._start_ns = time.perf_counter_ns()
        self._first_ns = self._last_ns = self._sent = self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._writes: list[tuple[int, int]] = []  # when parts were written, and how many had been then

    def advance(self) -> None:
        """Send the parts that are due; then wait for the next one, or end."""
        delivery, parts = self._delivery, self._delivery.response.parts
        elapsed_s = (time.perf_counter_ns() - self._start_ns) / 1e9 + TICK_S
        if delivery.due_s[0] > elapsed_s and not self._sent:
            return self._wait(delivery.due_s[0] - elapsed_s)
        if delivery.sends is None:
            return self._end()
        if not parts:
            self._sent = 1
            self._write(self._head() + (b"" if self._request.method == "HEAD" else delivery.response.body))
            return self._end()
        return self._stream(parts, delivery.sends, elapsed_s)

    def disconnected(self) -> None:
        """Record that the client disconnected before the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._connection.ended(self._access("left"))

    def _stream(self, parts: tuple[bytes, ...], sends: int, elapsed_s: float) -> None:
        due_s, begin = self._delivery.due_s, self._sent
        while self._sent < sends and due_s[self._sent] <= elapsed_s:
            self._sent += 1
        done = self._sent == sends
        events = b"".join(parts[begin : self._sent])
        if done and self._delivery.ending is Ending.COMPLETE:
            events += self._delivery.response.tail
        out = self._chunk(events) if events else b""
        if done and self._chunked and self._delivery.ending in (Ending.COMPLETE, Ending.CLEAN):
            out += LAST_CHUNK
        self._write(out if self._first_ns else self._head() + out)
        if self._connection.log_tokens:
            self._writes.append((self._last_ns, self._sent))
        if done:
            self._end()
        else:
            self._wait(due_s[self._sent] - elapsed_s)

    def _wait(self, seconds: float) -> None:
        self._timer = self._connection.loop.call_later(seconds + TICK_S, self.advance)

    def _end(self) -> None:
        match self._delivery.ending:
            case Ending.HANG:
                self._timer = self._connection.loop.call_later(self._delivery.hold_s, self._finish, "close")
            case Ending.RESET if self._first_ns:
                # The bytes written must reach the kernel first: a reset drops what is still in our buffers.
                self._timer = self._connection.loop.call_later(0.002, self._finish, "reset")
            case Ending.RESET:
                self._finish("reset")
            case Ending.CLOSE:
                self._finish("close")
            case _:
                self._finish("keep" if self._keep else "close")

    def _finish(self, then: str) -> None:
        connection, access = self._connection, self._access(self._delivery.ending.value)
        if then != "keep":
            connection.end(reset=then == "reset")
        connection.ended(access)

    def _write(self, data: bytes) -> None:
        # Before the write, so that no caller can have the bytes earlier than the log says.
        self._last_ns = time.perf_counter_ns()
        self._first_ns = self._first_ns or self._last_ns
        self._bytes += len(data)
        self._connection.write(data)

    def _chunk(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def _head(self) -> bytes:
        response = self._delivery.response
        lines = [_STATUS[response.status], f"content-type: {response.media}\r\nx-request-id: {self._request_id}\r\n"]
        lines.append(f"openai-processing-ms: {(time.perf_counter_ns() - self._start_ns) // 1_000_000}\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in response.headers]
        if not response.parts:
            lines.append(f"content-length: {len(response.body)}\r\n")
        elif self._chunked:
            lines.append("cache-control: no-cache\r\ntransfer-encoding: chunked\r\n")
        else:
            self._keep = False  # only the end of the connection ends such a stream
        if not self._keep:
            lines.append("connection: close\r\n")
        return "".join((*lines, "\r\n")).encode("latin-1")

    def _access(self, outcome: str) -> AccessRecord:
        request, response = self._request, self._delivery.response
        whole = outcome in (Ending.COMPLETE.value, Ending.CLEAN.value)
        token_ns, token_counts = self._tokens() if self._writes else ((), ())
        return AccessRecord(
            request_id=self._request_id,
            method=request.method,
            path=request.path,
            model=request.model,
            stream=response.stream,
            status=response.status if self._first_ns else 0,
            outcome=outcome,
            fault=self._delivery.fault,
            in_tok=response.in_tok,
            out_tok=response.out_tok,
            chunks=self._sent if response.stream else 0,
            sent_bytes=self._bytes,
            arrival_ns=request.arrival_ns,
            start_ns=self._start_ns,
            ttfb_ns=self._first_ns,
            end_ns=self._last_ns if whole else time.perf_counter_ns(),
            reasoning_tok=response.reasoning_tok,
            token_ns=token_ns,
            token_counts=token_counts,
        )

    def _tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return when each part that carries tokens was written, and how many it carries."""
        sizes = self._delivery.sizes or (1,) * len(self._delivery.response.parts)
        begins = (0, *(sent for _, sent in self._writes))
        parts = [(at_ns, size) for begin, (at_ns, sent) in zip(begins, self._writes, strict=False)
                 for size in sizes[begin:sent] if size]  # fmt: skip
        return tuple(at_ns for at_ns, _ in parts), tuple(size for _, size in parts)
