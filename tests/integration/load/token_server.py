"""A server that logs the time of each token it sends: `python token_server.py LOG [ttft_s] [gap_s]`.

It prints its port, and streams chat completions: a chunk with the role at once, then `max_tokens` tokens (32), each in
a chunk of its own, the first after about `ttft_s` and the others about `gap_s` apart (both lognormal). When stdin ends
it writes LOG: the CRC of the body, the arrival and the time of each token of every request, on `perf_counter_ns`, and
how many streams were open at most.
"""

import asyncio
import random
import resource
import sys
import time
import zlib
from pathlib import Path

import httptools
import orjson
import uvloop

TIMES_S = [0.08, 0.015]
SPREAD = 0.4
LOGGED: list[tuple[int, int, list[int]]] = []
OPEN = [0, 0]  # now, and at most
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHANCE = random.Random(1)


def event(data: bytes) -> bytes:
    return b"%x\r\ndata: %s\n\n\r\n" % (len(data) + 8, data)


def delta(fields: bytes, finish: bytes = b"null") -> bytes:
    return event(
        b'{"id":"c","object":"chat.completion.chunk","created":1,"model":"mock","choices":[{"index":0,"delta":{%s},'
        b'"finish_reason":%s}]}' % (fields, finish)
    )


ROLE, TOKEN, STOP = delta(b'"role":"assistant","content":""'), delta(b'"content":" word"'), delta(b"", b'"stop"')


class Stream:
    """One answer under way."""

    def __init__(self, transport, body):
        self.transport, self.body, self.arrived_ns, self.token_ns = transport, body, time.perf_counter_ns(), []
        self.count = int(orjson.loads(body).get("max_tokens") or 32)
        self.loop = asyncio.get_running_loop()
        OPEN[0] += 1
        OPEN[1] = max(OPEN)
        transport.write(HEAD + ROLE)
        self.after(TIMES_S[0])

    def after(self, mean_s):
        self.loop.call_later(mean_s * CHANCE.lognormvariate(0, SPREAD), self.token)

    def token(self):
        self.token_ns.append(time.perf_counter_ns())
        self.transport.write(TOKEN)
        if len(self.token_ns) < self.count:
            self.after(TIMES_S[1])
            return
        usage = b'{"prompt_tokens":16,"completion_tokens":%d,"total_tokens":%d}' % (self.count, self.count + 16)
        self.transport.write(STOP + event(b'{"choices":[],"usage":%s}' % usage) + event(b"[DONE]") + b"0\r\n\r\n")
        LOGGED.append((zlib.crc32(self.body), self.arrived_ns, self.token_ns))
        OPEN[0] -= 1


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.body = transport, b""
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        body, self.body = self.body, b""
        if body:
            Stream(self.transport, body)
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")


async def main():
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)  # until the caller lets go


if __name__ == "__main__":
    LOG, *more = sys.argv[1:]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    TIMES_S[: len(more)] = map(float, more)
    uvloop.run(main())
    Path(LOG).write_bytes(orjson.dumps({"streams": LOGGED, "most_open": OPEN[1]}))
