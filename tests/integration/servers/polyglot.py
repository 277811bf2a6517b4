"""A real server of many protocols: HTTP/1.1 and WebSocket by uvicorn, or HTTP/2 without TLS and gRPC by hypercorn.

    /healthz /readyz /    200 and its name                 /echo          the body of the request
    /slow?s=N             answers after N seconds          /error         500, or ?status=N
    /stream?s=N           server-sent events for N s, then data: [DONE]
    /headers              what it got: JSON of headers, scheme, HTTP version
    /trailers             a body, then the trailers x-length and x-release (h2c only)
    /counts               what it counted so far, as JSON
    /ws                   WebSocket: "hello NAME", then echoes; with ?push=S it also sends "push" every S seconds;
                          a client that is done says "bye" before it closes, else it counts as cut

gRPC at the h2c door, with messages that are plain bytes: `test.Echo/Unary`, `/ServerStream` (JSON: n, every_s),
`/BidiStream`, `/Fail` (ends with the status that its message names), and `grpc.health.v1.Health/Check`.

Each answer names the release in `x-release`. It counts what has the header `x-user`, by kind: begun, finished, failed
(on purpose), cut (the client or the edge was gone, or it was itself stopped, before the end). `--counts FOLDER` gets a
file of these at its end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
SERVING = b"\x08\x01"
"""A HealthCheckResponse of gRPC with the status SERVING."""
EVERY_S = 0.05


class Gone(Exception):
    """The other side went away before the end."""


class Failed(Exception):
    """It failed on purpose."""


class App:
    """The application; `options` are those of the command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.release = [(b"x-release", options.name.encode())]
        self.counts: dict[str, Counter[str]] = {}
        self.users = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await _lifespan(receive, send)
        kind, serve = self._handler(scope)
        user = any(name == b"x-user" for name, _ in scope["headers"])
        count = self.counts.setdefault(kind, Counter()) if user else Counter()
        count["begun"] += 1
        self.users += user
        if user and self.users == self.options.die_at:
            self.write()
            os._exit(1)
        end = "cut"
        try:
            await serve(scope, receive, send, user and self._fails())
            end = "finished"
        except Gone:
            pass
        except Failed:
            end = "failed"
        finally:
            count[end] += 1

    def write(self) -> None:
        """Write the counts to a file of their own."""
        if self.options.counts:
            path = Path(self.options.counts) / f"{self.options.name}-{os.getpid()}.json"
            path.write_text(json.dumps({"name": self.options.name, "counts": self.counts}), encoding="utf-8")

    def _handler(self, scope: Scope) -> tuple[str, Callable[[Scope, Receive, Send, bool], Awaitable[None]]]:
        path = scope["path"]
        if scope["type"] == "websocket":
            return "websocket", self._websocket
        calls = {
            "/test.Echo/Unary": ("grpc", self._unary),
            "/test.Echo/Fail": ("grpc", self._unary),
            "/grpc.health.v1.Health/Check": ("grpc", self._unary),
            "/test.Echo/ServerStream": ("grpc-stream", self._server_stream),
            "/test.Echo/BidiStream": ("grpc-bidi", self._bidi_stream),
            "/stream": ("stream", self._stream),
        }
        return calls.get(path, ("http", self._http))

    async def _http(self, scope: Scope, receive: Receive, send: Send, fails: bool) -> None:
        path, query = scope["path"], parse_qs(scope["query_string"].decode())
        status, body = 200, self.options.name.encode()
        if path == "/slow":
            await asyncio.sleep(float(query["s"][0]))
        elif path == "/error":
            status = int(query.get("status", ["500"])[0])
        elif path == "/echo":
            body = b"".join([part async for part in _body(receive)])
        elif path == "/counts":
            body = json.dumps(self.counts).encode()
        elif path == "/headers":
            headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
            got = {"headers": headers, "scheme": scope["scheme"], "http_version": scope["http_version"]}
            body = json.dumps(got).encode()
        elif path not in ("/healthz", "/readyz"):
            burn(self.options.work_ms / 1e3)
            status = 500 if fails else 200
        trailers = path == "/trailers" and "http.response.trailers" in scope.get("extensions", {})
        headers = [] if trailers else [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers + self.release,
                    "trailers": trailers})  # fmt: skip
        await send({"type": "http.response.body", "body": body})
        if trailers:
            length = [(b"x-length", b"%d" % len(body))]
            await send({"type": "http.response.trailers", "headers": length + self.release})
        if fails:
            raise Failed

    async def _stream(self, scope: Scope, receive: Receive, send: Send, fails: bool) -> None:
        until = time.monotonic() + float(parse_qs(scope["query_string"].decode()).get("s", ["0.3"])[0])
        headers = [(b"content-type", b"text/event-stream"), *self.release]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with _leaving(receive) as gone:
            while time.monotonic() < until and not gone.done():
                await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
                await asyncio.sleep(EVERY_S)
            if gone.done():
                raise Gone
            if fails:
                raise Failed
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send, fails: bool) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "headers": self.release})
        await send({"type": "websocket.send", "text": f"hello {self.options.name}"})
        push_s = parse_qs(scope["query_string"].decode()).get("push")
        pushing = asyncio.create_task(_push(send, float(push_s[0]))) if push_s else None
        last = None
        try:
            while (message := await receive())["type"] == "websocket.receive":
                last = message.get("text")
                echo = {key: message[key] for key in ("text", "bytes") if message.get(key) is not None}
                await send({"type": "websocket.send", **echo})
        finally:
            if pushing:
                pushing.cancel()
        # Not by the code: hypercorn reports 1006 for a client's own orderly end, too.
        if last != "bye":
            raise Gone

    async def _unary(self, scope: Scope, receive: Receive, send: Send, fails: bool) -> None:
        messages = [message async for message in _messages(receive)]
        if scope["path"].endswith("/Fail"):
            await self._grpc_end(send, status=int(messages[0]), begun=False)
            return
        if fails:
            await self._grpc_end(send, status=10, begun=False)
            raise Failed
        await self._grpc_begin(send)
        await _grpc_message(send, messages[0] if scope["path"].startswith("/test.") else SERVING)
        await self._grpc_end(send)

    async def _server_stream(self, scope: Scope, receive: Receive, send: Send, fails: bool) -> None:
        asked = json.loads(b"".join([message async for message in _messages(receive)]))
        await self._grpc_begin(send)
        async with _leaving(receive) as gone:
            for n in range(asked["n"]):
                await asyncio.sleep(asked["every_s"])
                if gone.done():
                    raise Gone
                await _grpc_message(send, b"%d" % n)
        await self._grpc_end(send)

    async def _bidi_stream(self, scope: Scope, receive: Receive, send: Send, fails: bool) -> None:
        await self._grpc_begin(send)
        async for message in _messages(receive):
            await _grpc_message(send, message)
        await self._grpc_end(send)

    async def _grpc_begin(self, send: Send) -> None:
        headers = [(b"content-type", b"application/grpc"), *self.release]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})

    async def _grpc_end(self, send: Send, status: int = 0, begun: bool = True) -> None:
        if not begun:
            await self._grpc_begin(send)
        await send({"type": "http.response.body", "body": b""})
        await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"%d" % status), *self.release]})

    def _fails(self) -> bool:
        return bool(self.options.fail_every) and self.users % self.options.fail_every == 0


async def _lifespan(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


async def _messages(receive: Receive) -> AsyncIterator[bytes]:
    """Yield each message of gRPC: one byte of flags, four of length, the message."""
    buffer = b""
    async for part in _body(receive):
        buffer += part
        while len(buffer) >= 5 and len(buffer) >= (end := 5 + int.from_bytes(buffer[1:5], "big")):
            yield buffer[5:end]
            buffer = buffer[end:]


async def _grpc_message(send: Send, message: bytes) -> None:
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    await send({"type": "http.response.body", "body": framed, "more_body": True})


async def _push(send: Send, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await send({"type": "websocket.send", "text": "push"})


@contextlib.asynccontextmanager
async def _leaving(receive: Receive) -> AsyncIterator[asyncio.Task[None]]:
    """Yield a task that is done once the client is gone."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task = asyncio.create_task(wait())
    try:
        yield task
    finally:
        task.cancel()


def burn(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def serve_http1(app: App, options: argparse.Namespace) -> None:
    import uvicorn

    config = uvicorn.Config(
        app, host=options.host, port=options.port, ws="wsproto", log_level="warning", access_log=False,
        timeout_keep_alive=75, timeout_graceful_shutdown=options.grace_s, backlog=1024,
    )  # fmt: skip
    server = uvicorn.Server(config)
    # uvicorn ends the process by the signal that it got, before the counts are written.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: setattr(server, "should_exit", True))
    await server.serve()


async def serve_h2c(app: App, options: argparse.Namespace) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind, config.backlog = [f"{options.host}:{options.port}"], 1024
    config.loglevel, config.graceful_timeout = "WARNING", options.grace_s
    # A connection of the edge lives as long as the edge wants; hypercorn would end it in the midst of its streams.
    config.keep_alive_max_requests, config.h2_max_concurrent_streams = 2**31 - 1, 1000
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


async def run(options: argparse.Namespace) -> None:
    app = App(options)
    try:
        await (serve_http1 if options.protocol == "http1" else serve_h2c)(app, options)
    finally:
        app.write()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", choices=["http1", "h2c"], default="http1")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", default=os.environ.get("RELEASE", "x"), help="or the environment's RELEASE")
    parser.add_argument("--counts", default="", help="a folder for the file of its counts, NAME-PID.json")
    parser.add_argument("--grace-s", type=int, default=1, help="what is left of it at its end is cut after this")
    parser.add_argument("--fail-every", type=int, default=0, help="every so manieth request of a user fails")
    parser.add_argument("--die-at", type=int, default=0, help="ends at once at this request of a user")
    parser.add_argument("--work-ms", type=float, default=0, help="of a processor, for each request")
    parser.add_argument("--burn-s", type=float, default=0, help="for so long its start takes every processor,")
    parser.add_argument("--burners", type=int, default=os.cpu_count(), help="with so many processes")
    return parser.parse_args()


if __name__ == "__main__":
    given = _options()
    processes = given.burners if given.burn_s else 0
    burners = [multiprocessing.Process(target=burn, args=[given.burn_s]) for _ in range(processes)]
    for burner in burners:
        burner.start()
    for burner in burners:
        burner.join()
    asyncio.run(run(given))
