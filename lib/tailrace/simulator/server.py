"""The listening simulator: connections, counts and the way to an end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tailrace.simulator import refusals, replies
from tailrace.simulator.admin import PREFIX, Admin
from tailrace.simulator.answers import Answer
from tailrace.simulator.connection import Connection
from tailrace.simulator.ledger import Access, Ledger
from tailrace.simulator.provider import ENDPOINTS, MODELS, Provider
from tailrace.simulator.replies import Reply
from tailrace.simulator.requests import Request
from tailrace.simulator.settings import Settings

BACKLOG = 2_048
API = "/v1/"


class Server:
    """One simulator on one port."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.log)
        self.provider = Provider(settings, time.monotonic)
        self.connections: set[Connection] = set()
        self._admin = Admin(self.provider, self.ledger, settings.admin_from)
        self._server: asyncio.Server | None = None
        self._ids = 0
        self._empty = asyncio.Event()
        self.closing = False

    async def start(self) -> None:
        """Listen; OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), self.settings.host, self.settings.port, backlog=BACKLOG
        )

    @property
    def port(self) -> int:
        assert self._server is not None, "the simulator has not been started"
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """Base URL for an SDK, with its /v1."""
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    def take(self, request: Request, peer: str) -> tuple[Reply, str]:
        """Return what is done for a request, and its id."""
        if not request.path.startswith(API):
            return replies.plain(self._own(request, peer)), self._request_id(request)
        self.ledger.begin(_label(request.path))
        return self.provider.reply(request), self._request_id(request)

    def note(self, access: Access) -> None:
        """Count a request that has ended; only those under /v1/ count."""
        if access.path.startswith(API):
            self.ledger.end(access)

    async def close(self, grace_s: float = 2.0) -> None:
        """Stop listening, let what is in flight end within `grace_s`, then cut it."""
        assert self._server is not None, "the simulator has not been started"
        self._server.close()
        self.closing = True
        self._end([connection for connection in self.connections if connection.idle])
        if not await self._emptied(grace_s):
            self._end(list(self.connections))
            await self._emptied(1.0)
        self.ledger.close()

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def _emptied(self, within_s: float) -> bool:
        self._empty.clear()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), within_s)
        return not self.connections

    def _end(self, connections: list[Connection]) -> None:
        for connection in connections:
            connection.end(reset=False)

    def _own(self, request: Request, peer: str) -> Answer:
        if request.path.startswith(PREFIX):
            return self._admin.answer(request, peer)
        if request.path == "/healthz" and request.method == "GET":
            return Answer(b'{"status":"ok"}')
        return refusals.no_path(request.method, request.path).answer

    def _request_id(self, request: Request) -> str:
        given = request.headers.get("x-request-id", "")
        if given and len(given) <= 128 and given.isascii() and given.isprintable():
            return given
        self._ids += 1
        return f"req_{self._ids:016x}"


def _label(path: str) -> str:
    """Return the path under which a request is counted: one of a few, whatever is asked for."""
    if path in ENDPOINTS or path == MODELS:
        return path
    return f"{MODELS}/{{id}}" if path.startswith(f"{MODELS}/") else "other"


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[Server]:
    """Run a simulator in this event loop while the context is open."""
    server = Server(settings)
    await server.start()
    try:
        yield server
    finally:
        await server.close()
