"""The simulator as a server: listener, connections, counts and shutdown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tailrace.simulator import api_errors
from tailrace.simulator.access_log import AccessLog, AccessRecord
from tailrace.simulator.admin import PREFIX, Admin
from tailrace.simulator.api_request import ApiRequest
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.connection import Connection
from tailrace.simulator.delivery import Delivery, whole
from tailrace.simulator.provider import ENDPOINTS, MODELS, SimulatedProvider
from tailrace.simulator.settings import Settings

BACKLOG = 2_048
API = "/v1/"


class Server:
    """One simulator on one port."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log_tokens = settings.log_tokens
        self.access_log = AccessLog(settings.log)
        self.provider = SimulatedProvider(settings, time.monotonic)
        self.connections: set[Connection] = set()
        self._admin = Admin(self.provider, self.access_log, settings.admin_from)
        self._server: asyncio.Server | None = None
        self._ids = 0
        self._empty = asyncio.Event()
        self.closing = False

    async def start(self) -> None:
        """Listen; raises OSError if the port is taken."""
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

    def respond(self, request: ApiRequest, peer: str) -> tuple[Delivery, str]:
        """Return the delivery for a request, and the request's id."""
        if not request.path.startswith(API):
            return whole(self._respond_locally(request, peer)), self._request_id(request)
        self.access_log.begin(_label(request.path))
        return self.provider.deliver(request), self._request_id(request)

    def record(self, access: AccessRecord) -> None:
        """Count a request that has ended, if it is under /v1/."""
        if access.path.startswith(API):
            self.access_log.end(access)

    async def close(self, grace_s: float = 2.0) -> None:
        """Stop listening, give requests in flight `grace_s` to end, then close their connections."""
        assert self._server is not None, "the simulator has not been started"
        self._server.close()
        self.closing = True
        self._end([connection for connection in self.connections if connection.idle])
        if not await self._emptied(grace_s):
            self._end(list(self.connections))
            await self._emptied(1.0)
        self.access_log.close()

    def forget(self, connection: Connection) -> None:
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

    def _respond_locally(self, request: ApiRequest, peer: str) -> ApiResponse:
        if request.path.startswith(PREFIX):
            return self._admin.respond(request, peer)
        if request.path == "/healthz" and request.method == "GET":
            return ApiResponse(b'{"status":"ok"}')
        return api_errors.no_path(request.method, request.path).response

    def _request_id(self, request: ApiRequest) -> str:
        caller_id = request.headers.get("x-request-id", "")
        if caller_id and len(caller_id) <= 128 and caller_id.isascii() and caller_id.isprintable():
            return caller_id
        self._ids += 1
        return f"req_{self._ids:016x}"


def _label(path: str) -> str:
    """Return the label that a request is counted under: one of a few, whatever its path."""
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
