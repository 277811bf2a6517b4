"""One request and what is sent for it: the parts in their time, then the ending."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import Protocol

from tailrace.simulator.ledger import Access
from tailrace.simulator.replies import Ending, Reply
from tailrace.simulator.requests import Request

TICK_S = 0.0005
"""Parts that are due within it leave together: the event loop's timers have a grain of 1 ms."""
LAST_CHUNK = b"0\r\n\r\n"
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Wire(Protocol):
    """The connection, as an exchange sees it."""

    loop: asyncio.AbstractEventLoop

    def write(self, data: bytes) -> None: ...

    def end(self, *, reset: bool) -> None: ...

    def ended(self, access: Access) -> None: ...


class Exchange:
    """Sends a reply on a connection; exactly one of `_finish` and `leave` ends it."""

    __slots__ = (
        "_bytes", "_chunked", "_connection", "_first_ns", "_keep", "_last_ns", "_reply", "_request", "_request_id",
        "_sent", "_start_ns", "_timer",
    )  # fmt: skip

    def __init__(self, connection: Wire, request: Request, reply: Reply, request_id: str) -> None:
        self._connection, self._request, self._reply, self._request_id = connection, request, reply, request_id
        self._keep, self._chunked = request.keep_alive, request.version == "1.1"
        self._start_ns = time.perf_counter_ns()
        self._first_ns = self._last_ns = self._sent = self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def advance(self) -> None:
        """Send what is due; then wait for the next part, or end."""
        reply, parts = self._reply, self._reply.answer.parts
        elapsed_s = (time.perf_counter_ns() - self._start_ns) / 1e9 + TICK_S
        if reply.due_s[0] > elapsed_s and not self._sent:
            return self._wait(reply.due_s[0] - elapsed_s)
        if reply.sends is None:
            return self._end()
        if not parts:
            self._sent = 1
            self._write(self._head() + (b"" if self._request.method == "HEAD" else reply.answer.body))
            return self._end()
        return self._stream(parts, reply.sends, elapsed_s)

    def leave(self) -> None:
        """Note that the client went away before the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._connection.ended(self._access("left"))

    def _stream(self, parts: tuple[bytes, ...], sends: int, elapsed_s: float) -> None:
        due_s, begin = self._reply.due_s, self._sent
        while self._sent < sends and due_s[self._sent] <= elapsed_s:
            self._sent += 1
        done = self._sent == sends
        events = b"".join(parts[begin : self._sent])
        if done and self._reply.ending is Ending.COMPLETE:
            events += self._reply.answer.tail
        out = self._chunk(events) if events else b""
        if done and self._chunked and self._reply.ending in (Ending.COMPLETE, Ending.CLEAN):
            out += LAST_CHUNK
        self._write(out if self._first_ns else self._head() + out)
        if done:
            self._end()
        else:
            self._wait(due_s[self._sent] - elapsed_s)

    def _wait(self, seconds: float) -> None:
        self._timer = self._connection.loop.call_later(seconds + TICK_S, self.advance)

    def _end(self) -> None:
        match self._reply.ending:
            case Ending.HANG:
                self._timer = self._connection.loop.call_later(self._reply.hold_s, self._finish, "close")
            case Ending.RESET if self._first_ns:
                # What was written has to reach the kernel first: a reset drops what is still in our buffers.
                self._timer = self._connection.loop.call_later(0.002, self._finish, "reset")
            case Ending.RESET:
                self._finish("reset")
            case Ending.CLOSE:
                self._finish("close")
            case _:
                self._finish("keep" if self._keep else "close")

    def _finish(self, then: str) -> None:
        connection, access = self._connection, self._access(self._reply.ending.value)
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
        answer = self._reply.answer
        lines = [_STATUS[answer.status], f"content-type: {answer.media}\r\nx-request-id: {self._request_id}\r\n"]
        lines.append(f"openai-processing-ms: {(time.perf_counter_ns() - self._start_ns) // 1_000_000}\r\n")
        lines += [f"{name}: {value}\r\n" for name, value in answer.headers]
        if not answer.parts:
            lines.append(f"content-length: {len(answer.body)}\r\n")
        elif self._chunked:
            lines.append("cache-control: no-cache\r\ntransfer-encoding: chunked\r\n")
        else:
            self._keep = False  # only the end of the connection ends such a stream
        if not self._keep:
            lines.append("connection: close\r\n")
        return "".join((*lines, "\r\n")).encode("latin-1")

    def _access(self, outcome: str) -> Access:
        request, answer = self._request, self._reply.answer
        whole = outcome in (Ending.COMPLETE.value, Ending.CLEAN.value)
        return Access(
            request_id=self._request_id,
            method=request.method,
            path=request.path,
            model=request.model,
            stream=answer.stream,
            status=answer.status if self._first_ns else 0,
            outcome=outcome,
            fault=self._reply.fault,
            in_tok=answer.in_tok,
            out_tok=answer.out_tok,
            chunks=self._sent if answer.stream else 0,
            sent_bytes=self._bytes,
            arrival_ns=request.arrival_ns,
            start_ns=self._start_ns,
            ttfb_ns=self._first_ns,
            end_ns=self._last_ns if whole else time.perf_counter_ns(),
        )
