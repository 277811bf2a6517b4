"""Servers that promise to keep a connection, and do, or do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest

from tailrace.load import RequestOutcome, Workload
from tailrace.load.pool import Keeping
from tailrace.load.sender import HttpSender

EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    b"\n\ndata: [DONE]\n\n"
)
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nkeep-alive: timeout=5, max=100\r\n"
    b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)
)


class Server:
    """Answers `answers[k]` streams on its k-th connection, the last number on all later ones, and then closes it."""

    def __init__(self, answers: Sequence[int], close_at_once: bool) -> None:
        self._answers, self._at_once, self.connections, self.requests = answers, close_at_once, 0, 0
        self.served: list[asyncio.Task[None] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served.append(asyncio.current_task())
        count = self._answers[min(self.connections, len(self._answers) - 1)]
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(count):
                await self._read(reader)
                writer.write(STREAM)
                await writer.drain()
            if not self._at_once:
                await self._read(reader)  # the next request arrives, and is never answered
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self.requests += 1


def outcomes(server: Server, count: int) -> list[str]:
    """Send streams one right after the other; return how each ended."""

    async def go() -> list[RequestOutcome]:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        workload = Workload(stream_share=1)
        sender = HttpSender(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", workload, {})
        try:
            return [await sender.send(n, workload.request(n)) for n in range(count)]
        finally:
            await sender.close()
            listener.close()
            await asyncio.gather(*(task for task in server.served if task))

    return [outcome.error_type for outcome in asyncio.run(go())]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_server_that_keeps_no_connection_loses_no_request(at_once: bool):
    """A server that ends each connection after its stream is no failure, however soon the next request comes."""
    server = Server([1], close_at_once=at_once)
    assert outcomes(server, 20) == [""] * 20
    assert server.connections == 20
    assert server.requests <= 22, "after two such ends no request is sent twice"


def test_an_end_without_an_answer_is_a_failure_where_connections_are_kept():
    """The control: once a connection has brought a second answer, the request that gets none has failed."""
    server = Server([3, 100], close_at_once=False)
    assert outcomes(server, 6) == ["", "", "", "reset", "", ""]


def test_streams_and_plain_answers_are_known_apart():
    """A server may keep connections after answers of known length, and close them after streams."""
    keeping = Keeping()
    keeping.kept(False)
    keeping.closed(True)
    keeping.closed(True)
    assert (keeping.known(False), keeping.worth_it(False)) == (True, True)
    assert (keeping.known(True), keeping.worth_it(True)) == (False, False)
