"""Lean attempts by aiohttp, for the service: no SDK object and no httpx2 object on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from tailrace.client.wire import Headers, Request, Response, Unanswered

_OF_THE_WAY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})
_NOT_SENT: Final = frozenset({"content-length", "host", "connection", "transfer-encoding", "keep-alive"})


class AiohttpSender:
    """One attempt over a shared `aiohttp.ClientSession`, which it makes and closes itself when none is given.

    Enter it (`async with`), or `open` it, on the loop that it is used on. `connections` bounds what is open at
    once; who has to wait longer than the attempt may take gets a timeout.
    """

    def __init__(
        self, session: aiohttp.ClientSession | None = None, *, connections: int = 1024, connect_timeout_s: float = 5.0
    ) -> None:
        self._session = session
        self._owned = session is None
        self._connections = connections
        self._connect_timeout_s = connect_timeout_s

    async def open(self) -> Self:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent",),
            )
        return self

    async def close(self) -> None:
        if self._owned and self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __call__(self, request: Request) -> Response:
        if self._session is None:
            await self.open()
        assert self._session is not None
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s)
        try:
            answer = await self._session.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body or None,
                headers=[(name, value) for name, value in request.headers if name.lower() not in _NOT_SENT],
                allow_redirects=False,
                timeout=timeout,
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


def _headers(answer: aiohttp.ClientResponse) -> Headers:
    return tuple((name.lower(), value) for name, value in answer.headers.items() if name.lower() not in _OF_THE_WAY)


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
