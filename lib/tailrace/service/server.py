"""The HTTP server around the app: one event loop, one listener, and a graceful shutdown.

The first SIGTERM (or SIGINT) turns readiness false at once. Requests in flight, and those that still arrive for a
moment, are served until none is left or the drain's time is over. The second signal ends the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from tailrace.service.acceptor import Acceptor
from tailrace.service.capacity import MOST
from tailrace.service.connection import Connection
from tailrace.service.connections import KEEP_ALIVE_S, Connections
from tailrace.service.in_flight import InFlight
from tailrace.service.logs import Log

LISTEN_ON_S = 5.0
QUIET_S = 0.1
"""Time for the connection accepted last to send its request."""
LAST_BYTES_S = 2
"""Time for connections to take the bytes that are already written."""


class Server(uvicorn.Server):
    """uvicorn's server, without its signal handlers, and with limits on connections."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.server_state = self._connections = connections

    async def on_tick(self, counter: int) -> bool:
        self._connections.close_late(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self.servers = [Acceptor(one, self._protocol, self._connections) for one in sockets or ()]  # type: ignore[misc]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def stop_listening(self, listener: socket.socket) -> None:
        """Accept no more connections, and lose none that is waiting already.

        When a listening socket closes, the kernel resets the connections that wait to be accepted. So the acceptor's
        closes first, while a duplicate keeps the queue alive; the duplicate closes once the queue is empty.
        """
        spare = listener.dup()
        spare.setblocking(False)
        for server in self.servers:
            server.close()
        await asyncio.sleep(0)
        waiting = []
        with spare, contextlib.suppress(BlockingIOError):
            while True:
                waiting.append(spare.accept()[0])
        for connection in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        return Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def make(app: Any, headers: list[tuple[str, str]], connections: Connections | None = None) -> Server:
    """Return a server for `app` that adds `headers` to every response."""
    config = uvicorn.Config(
        app, http=Connection, ws="none", lifespan="off", interface="asgi3", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, headers=headers, timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=LAST_BYTES_S)  # fmt: skip
    return Server(config, connections or Connections(MOST.connections, MOST.spare))


def listen(host: str, port: int, silence_s: float, backlog: int = 2048) -> socket.socket:
    """Return a bound socket; port 0 takes any free one.

    The kernel ends a connection whose other side takes nothing of what was sent for `silence_s`, where it can (Linux):
    else a caller who does not read would hold his request, and the provider's stream, for ever.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=backlog)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted sockets inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(silence_s * 1e3))
    return listener


def watch_signals(first: Callable[[], Awaitable[None]], log: Log) -> None:
    """Run `first` on the first SIGTERM or SIGINT, and end the process at once on the second."""
    loop = asyncio.get_running_loop()
    begun: list[asyncio.Task[None]] = []

    async def run() -> None:
        await first()

    def on_signal(number: int) -> None:
        if begun:
            log.event("killed", level="warning", signal=signal.Signals(number).name)
            log.close()
            os._exit(128 + number)
        begun.append(loop.create_task(run()))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)


async def drain(in_flight: InFlight, server: Server, listener: socket.socket, log: Log, timeout_s: float) -> None:
    """Finish the requests in flight, then let the server exit.

    The listener stays open for a moment, because the edge may not know of the drain yet. Then it closes, so that a
    stream of new requests cannot prolong the drain to its deadline.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    log.event("draining", in_flight=len(in_flight), timeout_s=timeout_s)
    await in_flight.drain(min(LISTEN_ON_S, timeout_s / 2))
    await server.stop_listening(listener)
    await asyncio.sleep(QUIET_S)
    finished = await in_flight.drain(deadline - loop.time())
    cut = 0 if finished else await in_flight.cut()
    left_s = max(0.0, deadline - loop.time())
    log.event("drained", level="warning" if cut else "info", cut=cut, waited_s=round(timeout_s - left_s, 3))
    server.config.timeout_graceful_shutdown = max(LAST_BYTES_S, math.ceil(left_s))
    server.should_exit = True
