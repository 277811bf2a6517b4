"""A sender with aiohttp, for the service and for `AsyncOpenAI`: a fifth of the CPU time of an httpx2 transport."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from tailrace.client.wire import SENDER_HEADERS, Request, Response, Unanswered, received
from tailrace.protocol import media


class AiohttpSender:
    """Makes attempts over a shared `aiohttp.ClientSession`, which it makes and closes itself unless one is passed.

    Enter it (`async with`), or `open` it, or let the first request do so; another event loop gets a new session.
    `connections` limits the open connections; an attempt that waits too long for one times out. `tls` makes the
    context for https. The timeouts of the httpx2 request that a request was made from apply.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connections: int = 1024,
        connect_timeout_s: float = 5.0,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._session = session
        self._owned = session is None
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open_session: AsyncGenerator[None] | None = None

    async def open(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._session is None or (self._owned and self._loop is not loop):
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, keepalive_timeout=15.0, ssl=self._tls() if self._tls is not None else True
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent",),
            )
            self._open_session = _kept_open(self._session)
            await anext(self._open_session)
        return self

    async def close(self) -> None:
        if self._owned and self._open_session is not None:
            await self._open_session.aclose()
            self._session = self._open_session = None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __call__(self, request: Request) -> Response:
        if self._session is None or self._owned:
            await self.open()
        assert self._session is not None
        try:
            answer = await self._session.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body or None,
                headers=[(name, value) for name, value in request.headers if name.lower() not in SENDER_HEADERS],
                allow_redirects=False,
                timeout=self._timeout if request.extensions is None else _timeout(request.extensions, self._timeout),
            )
            if answer.status < 400 and not media.is_json(answer.content_type):
                return Response(answer.status, received(answer.raw_headers), _chunks(answer))
            async with answer:
                return Response(answer.status, received(answer.raw_headers), await answer.read())
        except TimeoutError as error:  # aiohttp's timeouts are TimeoutErrors, too; the driver's own must pass
            if not isinstance(error, aiohttp.ClientError):
                raise
            raise Unanswered("timeout", type(error).__name__) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered("connection", type(error).__name__) from error


async def _kept_open(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    """Keep `session` open until this generator is closed, collected, or shut down with its event loop."""
    try:
        yield
    finally:
        await session.close()


def _timeout(original: Any, default: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
    """Return the timeouts of the httpx2 request that this one was made from."""
    steps = original.extensions.get("timeout")
    if steps is None:
        return default
    return aiohttp.ClientTimeout(
        total=None, connect=steps.get("pool"), sock_connect=steps.get("connect"), sock_read=steps.get("read")
    )


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    except TimeoutError as error:
        if not isinstance(error, aiohttp.ClientError):
            raise
        raise Unanswered("timeout", type(error).__name__) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unanswered("connection", type(error).__name__) from error
    finally:
        answer.close()
