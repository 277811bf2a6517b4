"""Lean attempts by aiohttp, for the service and for `AsyncOpenAI`: a fifth of the CPU of an httpx2 transport."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from tailrace.client.wire import NOT_SENT, OF_THE_WAY, Headers, Request, Response, Unanswered


class AiohttpSender:
    """One attempt over a shared `aiohttp.ClientSession`, which it makes and closes itself when none is given.

    Enter it (`async with`), or `open` it, or let the first request do so; on another loop it begins anew.
    `connections` bounds what is open at once; who has to wait longer than the attempt may take gets a timeout.
    `tls` makes the context for https. A timeout that an httpx2 request brings along holds.
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
        self._held: AsyncGenerator[None] | None = None

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
            self._held = _held(self._session)
            await anext(self._held)
        return self

    async def close(self) -> None:
        if self._owned and self._held is not None:
            await self._held.aclose()
            self._session = self._held = None

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
                headers=[(name, value) for name, value in request.headers if name.lower() not in NOT_SENT],
                allow_redirects=False,
                timeout=self._timeout if request.extensions is None else _brought(request.extensions, self._timeout),
            )
            if answer.status < 400 and answer.content_type != "application/json":
                return Response(answer.status, _headers(answer), _chunks(answer))
            async with answer:
                return Response(answer.status, _headers(answer), await answer.read())
        except TimeoutError as error:  # aiohttp's timeouts are TimeoutErrors too; ours has to go on to the driver
            if not isinstance(error, aiohttp.ClientError):
                raise
            raise Unanswered("timeout", type(error).__name__) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered("connection", type(error).__name__) from error


async def _held(session: aiohttp.ClientSession) -> AsyncGenerator[None]:
    """Hold `session` open until it is closed, or forgotten, or its loop shuts down its generators at its end."""
    try:
        yield
    finally:
        await session.close()


def _brought(original: Any, usual: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
    """Return the timeouts of the httpx2 request that this one was made of."""
    steps = original.extensions.get("timeout")
    if steps is None:
        return usual
    return aiohttp.ClientTimeout(
        total=None, connect=steps.get("pool"), sock_connect=steps.get("connect"), sock_read=steps.get("read")
    )


def _headers(answer: aiohttp.ClientResponse) -> Headers:
    return tuple((name.lower(), value) for name, value in answer.headers.items() if name.lower() not in OF_THE_WAY)


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
