"""The bodies of requests: read whole, within limits of size and of time, and counted while they are held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tailrace.service import http_response
from tailrace.service.http_response import HttpError

Receive = Callable[[], Awaitable[Any]]

FIRST_S: Final = 60.0
BYTES_PER_S: Final = 1024
"""A body may take `FIRST_S`, and a second more for each of so many bytes that have come."""


class ClientDisconnected(Exception):
    """The caller disconnected before its request was complete."""


@dataclass
class Bodies:
    """Reads the bodies of requests, and knows how many bytes of them are held."""

    most_bytes: int
    """Of one body; 413 above it."""
    most_held_bytes: int
    """Of all bodies at once; 503 beyond it."""
    silence_s: float
    """The longest wait for the next bytes."""
    first_s: float = FIRST_S
    held_bytes: int = 0
    reading: int = 0
    """Requests whose body is not whole."""

    async def read(self, receive: Receive, scope: Mapping[str, Any]) -> bytes:
        """Return the whole body, which is held until it is released.

        Raises `ClientDisconnected` when the caller leaves, and `HttpError` for a body that is too large or too slow,
        or when too many are held.
        """
        for name, value in scope["headers"]:
            if name == b"content-length":
                self._check(0, int(value))
        self.reading += 1
        size = 0
        try:
            body = await self._read(receive)
            size = len(body)
        finally:
            self.reading -= 1
        self.held_bytes += size
        return body

    def release(self, body: bytes) -> None:
        """Hold a body that was read no longer."""
        self.held_bytes -= len(body)

    async def _read(self, receive: Receive) -> bytes:
        loop = asyncio.get_running_loop()
        began = loop.time()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout_at(began + min(self.silence_s, self.first_s)) as limit:
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnected
                    part = message["body"]
                    self._check(size, len(part))
                    size += len(part)
                    if not message["more_body"]:
                        return b"".join([*parts, part]) if parts else part
                    parts.append(part)
                    self.held_bytes += len(part)
                    due = began + self.first_s + size / BYTES_PER_S
                    limit.reschedule(min(loop.time() + self.silence_s, due))
        except TimeoutError:
            raise HttpError(http_response.too_slow(size, loop.time() - began)) from None
        finally:
            self.held_bytes -= sum(map(len, parts))

    def _check(self, size: int, more: int) -> None:
        if size + more > self.most_bytes:
            raise HttpError(http_response.too_large(self.most_bytes))
        if self.held_bytes + more > self.most_held_bytes:
            raise HttpError(http_response.overloaded("as many bytes of requests as it may hold"))
