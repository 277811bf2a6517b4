"""A load of many protocols on two deployments of `polyglot.py`, in a process of its own, at a steady rate (open loop).

    web   HTTP/1.1: GET, server-sent events of 0.3 s, WebSocket sessions; with TLS where its URL begins with https
    rpc   plain HTTP/1.1 GET, and gRPC by h2c: unary, streams of the server, streams of both sides

A request is what the edge counts as one: a GET, a stream, a call of gRPC, a whole WebSocket session. Each row says how
it ended: "200" when it was answered whole and in order, else the status, "cut", or the client's own error.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self
from urllib.parse import urlsplit

PERIOD = {
    ("web", "http"): 27, ("web", "stream"): 2, ("web", "websocket"): 1,
    ("rpc", "http"): 12, ("rpc", "grpc"): 5, ("rpc", "grpc-stream"): 2, ("rpc", "grpc-bidi"): 1,
}  # fmt: skip
"""How many of fifty requests are of each kind."""
USER = {"x-user": "1"}
MESSAGES = 10


@dataclass(frozen=True)
class Doors:
    """Where the load goes: the URLs of the two deployments, the file of the authority that signed, what it is like."""

    web: str
    rpc: str = "http://127.0.0.1:1"
    authority: str = ""
    rate: float = 500
    session_s: float = 1.0
    """How long a WebSocket session or a stream of gRPC lives."""
    timeout_s: float = 30.0
    kinds: tuple[str, ...] = ()
    """Only these, as "web/http"; empty: all."""


class Row(NamedTuple):
    """One request: when it was sent (`time.perf_counter_ns`), how long it took, and who answered it how."""

    sent_ns: int
    took_ms: float
    door: str
    kind: str
    outcome: str
    colour: str = ""
    release: str = ""


class MixedLoad:
    """Runs the load while the context is open; `rows` are there after it."""

    def __init__(self, doors: Doors) -> None:
        self.rows: list[Row] = []
        command = [sys.executable, __file__, json.dumps(asdict(doors))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        assert self._process.stdout
        self._process.stdout.readline()
        return self

    def __exit__(self, *raised: object) -> None:
        said = self._process.communicate()[0]
        self.rows = [Row(*row) for row in json.loads(said)]

    def outcomes(self, door: str) -> Counter[str]:
        return Counter(row.outcome for row in self.rows if row.door == door)


class Client:
    """Sends one request of a kind, and says how it ended."""

    def __init__(self, doors: Doors) -> None:
        import aiohttp
        import grpc

        self.doors, self.rows, self.grpc, self.aiohttp = doors, [], grpc, aiohttp
        self.rows: list[Row] = []
        trusted = ssl.create_default_context(cafile=doors.authority or None)
        connector = aiohttp.TCPConnector(limit=0, ssl=trusted)
        timeout = aiohttp.ClientTimeout(doors.timeout_s)
        self.session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=USER)
        # No retries of its own: each call is sent once, and counted once.
        options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
        self.channels = [grpc.aio.insecure_channel(urlsplit(doors.rpc).netloc, options) for _ in range(4)]
        self.kinds: Mapping[str, Callable[[str, int], Awaitable[tuple[str, Mapping[str, str]]]]] = {
            "http": self.get, "stream": self.stream, "websocket": self.websocket,
            "grpc": self.unary, "grpc-stream": self.server_stream, "grpc-bidi": self.bidi_stream,
        }  # fmt: skip

    async def run(self, door: str, kind: str, n: int) -> None:
        """Send the `n`th request, and write its row."""
        sent_ns, headers = time.perf_counter_ns(), {}
        try:
            outcome, headers = await self.kinds[kind](getattr(self.doors, door), n)
        except self.grpc.aio.AioRpcError as error:
            outcome = error.code().name
            headers = {**dict(error.trailing_metadata() or ()), **dict(error.initial_metadata() or ())}
        except self.aiohttp.WSServerHandshakeError as error:
            outcome, headers = str(error.status), error.headers or {}
        except (self.aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = type(error).__name__
        took_ms = (time.perf_counter_ns() - sent_ns) / 1e6
        who = (headers.get("x-colour", ""), headers.get("x-release", ""))
        self.rows.append(Row(sent_ns, took_ms, door, kind, outcome, *who))

    async def get(self, url: str, n: int) -> tuple[str, Mapping[str, str]]:
        async with self.session.get(f"{url}/") as response:
            await response.read()
            return str(response.status), response.headers

    async def stream(self, url: str, n: int) -> tuple[str, Mapping[str, str]]:
        async with self.session.get(f"{url}/stream?s=0.3") as response:
            try:
                body = await response.read()
            except self.aiohttp.ClientError:
                return "cut", response.headers
            whole = response.status != 200 or body.endswith(b"data: [DONE]\n\n")
            return str(response.status) if whole else "cut", response.headers

    async def websocket(self, url: str, n: int) -> tuple[str, Mapping[str, str]]:
        every_s = self.doors.session_s / MESSAGES
        async with self.session.ws_connect(f"{url}/ws?push={every_s * 2.5}") as socket:
            headers = socket._response.headers
            if not str((await socket.receive()).data).startswith("hello "):
                return "cut", headers
            for text in [*map(str, range(MESSAGES)), "bye"]:
                await socket.send_str(text)
                while (message := await socket.receive()).data == "push":
                    pass
                if message.data != text:
                    return "cut", headers
                await asyncio.sleep(every_s if text != "bye" else 0)
            return "200", headers

    async def unary(self, url: str, n: int) -> tuple[str, Mapping[str, str]]:
        call = self._channel(n).unary_unary("/test.Echo/Unary")(
            b"%d" % n, metadata=tuple(USER.items()), timeout=self.doors.timeout_s
        )
        answer, headers = await call, dict(await call.initial_metadata())
        return "200" if answer == b"%d" % n else "wrong", headers

    async def server_stream(self, url: str, n: int) -> tuple[str, Mapping[str, str]]:
        request = json.dumps({"n": MESSAGES, "every_s": self.doors.session_s / MESSAGES}).encode()
        call = self._channel(n).unary_stream("/test.Echo/ServerStream")(
            request, metadata=tuple(USER.items()), timeout=self.doors.timeout_s
        )
        headers = dict(await call.initial_metadata())
        return await self._whole(call, headers)

    async def bidi_stream(self, url: str, n: int) -> tuple[str, Mapping[str, str]]:
        async def requests() -> AsyncIterator[bytes]:
            for i in range(MESSAGES):
                yield b"%d" % i
                await asyncio.sleep(self.doors.session_s / MESSAGES)

        call = self._channel(n).stream_stream("/test.Echo/BidiStream")(
            requests(), metadata=tuple(USER.items()), timeout=self.doors.timeout_s
        )
        headers = dict(await call.initial_metadata())
        return await self._whole(call, headers)

    async def _whole(self, call, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Return "200" when every message came in order and the call ended with the status OK."""
        try:
            messages = [message async for message in call]
        except self.grpc.aio.AioRpcError as error:
            return error.code().name, headers
        whole = messages == [b"%d" % n for n in range(MESSAGES)] and await call.code() == self.grpc.StatusCode.OK
        return "200" if whole else "cut", headers

    def _channel(self, n: int):
        return self.channels[n % len(self.channels)]


def schedule(doors: Doors) -> list[tuple[str, str]]:
    """Return the doors and kinds of fifty requests or fewer, each kind evenly spread."""
    chosen = {kind: n for kind, n in PERIOD.items() if not doors.kinds or "/".join(kind) in doors.kinds}
    places = [((i + 0.5) / n, kind) for kind, n in chosen.items() for i in range(n)]
    return [kind for _, kind in sorted(places)]


async def run(doors: Doors) -> list[Row]:
    """Send requests until the standard input ends; return their rows once the last has ended."""
    client, kinds, tasks = Client(doors), schedule(doors), set()
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    begun, sent, steady = time.perf_counter(), 0, False
    while not ended.done():
        task = asyncio.create_task(client.run(*kinds[sent % len(kinds)], sent))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        sent += 1
        if not steady and time.perf_counter() - begun > doors.session_s + 0.5:
            steady = True
            print("steady", flush=True)
        await asyncio.sleep(max(0, begun + sent / doors.rate - time.perf_counter()))
    await asyncio.gather(*tasks)
    await client.session.close()
    await asyncio.gather(*(channel.close() for channel in client.channels))
    return client.rows


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Doors(**json.loads(sys.argv[1]))))))
