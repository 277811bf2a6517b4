"""The null server: `python -m tailrace.load.null` answers at once, so that only the client's own time remains.

It prints its port on stdout, and ends when stdin does. With an argument it answers after that many seconds: a
service with a known latency, for benchmarks.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Final, cast

import httptools

_USAGE: Final = b'{"prompt_tokens":16,"completion_tokens":1,"total_tokens":17}'
_JSON: Final = (
    b'{"id":"null","object":"chat.completion","created":1,"model":"null","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"."},"finish_reason":"stop"}],"usage":' + _USAGE + b"}"
)
_EVENTS: Final = (
    b'data: {"choices":[{"index":0,"delta":{"content":"."}}]}\n\n'
    b'data: {"choices":[],"usage":' + _USAGE + b"}\n\ndata: [DONE]\n\n"
)


def _answer(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (kind, len(body), body)


PLAIN: Final = _answer(b"application/json", _JSON)
STREAMED: Final = _answer(b"text/event-stream", _EVENTS)


class NullServer(asyncio.Protocol):
    """Answers every complete request, with a stream where one is requested."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser: Any = httptools.HttpRequestParser(self)
        self._streamed = False

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._parser = None

    def on_body(self, data: bytes) -> None:
        self._streamed = self._streamed or b'"stream":true' in data

    def on_message_complete(self) -> None:
        answer = STREAMED if self._streamed else PLAIN
        self._streamed = False
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, answer)
        else:
            self._transport.write(answer)


async def serve(delay_s: float) -> None:
    """Serve until stdin ends."""
    server = await asyncio.get_running_loop().create_server(lambda: NullServer(delay_s), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)


def main() -> None:
    serving = serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serving)
    else:
        uvloop.run(serving)


if __name__ == "__main__":
    main()
