"""A small server of our own, in a process of its own: `python load_target.py [delay_s] [log]`.

Prints its port. Answers chat completions (streamed on request), after a delay; logs the arrival and the end of each
request on `perf_counter_ns`, so that a test knows the truth. Paths make it misbehave.
"""

import asyncio
import sys
import time
import zlib
from pathlib import Path

import httptools
import orjson
import uvloop

STREAM_GAP_S = 0.2  # between the first chunk of a stream and its end: long against the hiccups of a busy machine

DELAY_S = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
LOG = sys.argv[2] if len(sys.argv) > 2 else ""
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}
LOGGED: list[tuple[int, int, int]] = []


def answer(status: int, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def chunk(event: bytes) -> bytes:
    data = b"data: " + event + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


OK = answer(
    200,
    orjson.dumps({"choices": [{"message": {"content": "yes"}}], "usage": USAGE}),
    "x-release: r1\r\nx-colour: blue\r\nx-generation: 4\r\nx-tailrace-attempts: 2\r\n"
    "x-tailrace-backoff-us: 1500\r\nx-tailrace-cost-microusd: 12\r\n",
)
HIT = OK.replace(b"x-tailrace-attempts: 2", b"x-tailrace-cache: hit\r\nx-tailrace-attempts: 0")
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORD = chunk(orjson.dumps({"choices": [{"delta": {"content": "ja "}}]}))
LAST = chunk(orjson.dumps({"choices": [], "usage": USAGE}))
END = b"0\r\n\r\n"


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.path, self.body = b"", b""

    def data_received(self, data):
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def on_url(self, url):
        self.path = url

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        path, body, self.body = self.path, self.body, b""
        at_ns = time.perf_counter_ns()
        loop = asyncio.get_running_loop()
        if DELAY_S and path.startswith(b"/v1"):
            loop.call_at(loop.time() + DELAY_S, self.reply, path, body, at_ns)
        else:
            self.reply(path, body, at_ns)

    def reply(self, path, body, at_ns):
        send, close = self.transport.write, self.transport.close
        if path.startswith(b"/status/"):
            send(answer(int(path[8:11]), b'{"error": {"message": "no"}}'))
        elif path.startswith(b"/garbage"):
            send(answer(200, b"<html>"))
        elif path.startswith(b"/noise"):
            send(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
        elif path.startswith(b"/errorbody"):
            send(answer(200, b'{"error": {"message": "no"}}'))
        elif path.startswith(b"/reset"):
            self.transport.abort()
        elif path.startswith(b"/half"):
            send(OK[:-10])
            close()
        elif path.startswith(b"/cut"):
            send(STREAM + WORD + END)
        elif path.startswith(b"/torn"):
            send(STREAM + WORD)
            close()
        elif path.startswith(b"/hang"):
            pass
        elif path.startswith(b"/hit"):
            send(HIT)
        elif path.startswith(b"/eof"):
            send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nall of it")
            close()
        elif path.startswith(b"/text"):
            send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello")
        elif b'"stream":true' in body:
            send(STREAM)
            send(WORD)
            asyncio.get_running_loop().call_later(STREAM_GAP_S, send, WORD + LAST + chunk(b"[DONE]") + END)
        else:
            send(OK)
        if LOG:
            LOGGED.append((zlib.crc32(body), at_ns, time.perf_counter_ns()))


async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)  # until the test lets go


if __name__ == "__main__":
    uvloop.run(main())
    if LOG:
        Path(LOG).write_bytes(orjson.dumps(LOGGED))
