"""A sender with aiohttp, for the service and for `AsyncOpenAI`: a fifth of the CPU time of an httpx2 transport."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import httpx2
from yarl import URL

from tailrace.client.errors import WrongEventLoop
from tailrace.client.event_loops import Opened, PerLoop
from tailrace.client.senders.aiohttp_parser import connector as lenient_connector
from tailrace.client.senders.decoding import (
    ACCEPTED,
    MOST_ANSWER_BYTES,
    AnswerTooLarge,
    adecoded,
    decoded_whole,
    encoding,
    pieces,
)
from tailrace.client.wire import SENDER_HEADERS, Headers, Request, Response, Unanswered, received
from tailrace.protocol import media
from tailrace.protocol.encoding import EncodingError

_FAILURES: Final = (aiohttp.ClientError, OSError, EncodingError, httpx2.DecodingError)


class AiohttpSender:
    """Makes attempts over an `aiohttp.ClientSession` for each event loop, which it makes and closes itself.

    Enter it (`async with`), or `open` it, or let the first request do so. Several loops may use it at once. A session
    that is passed stays with the loop that first uses it; on any other, attempts raise WrongEventLoop.
    `connections` limits the open connections of one loop; an attempt that waits too long for one times out. `tls`
    makes the context for https. The timeouts of the httpx2 request that a request was made from apply.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        connections: int = 1024,
        connect_timeout_s: float = 5.0,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._given = session
        self._given_to: asyncio.AbstractEventLoop | None = None
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s)
        self._tls = lru_cache(maxsize=1)(tls) if tls is not None else None
        self._sessions = PerLoop(self._opened)

    async def open(self) -> Self:
        self._session()
        return self

    async def close(self) -> None:
        """Close the sessions: this loop's at once, those of other loops there."""
        await self._sessions.aclose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __call__(self, request: Request) -> Response:
        session = self._session()
        try:
            answer = await session.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body or None,
                headers=_sent(request.headers),
                allow_redirects=False,
                auto_decompress=False,
                timeout=self._timeout if request.extensions is None else _timeout(request.extensions, self._timeout),
            )
            if answer.status < 200 or answer.headers.get("transfer-encoding", "chunked").lower() != "chunked":
                answer.close()
                raise Unanswered("connection", "a switch of the protocol, or a transfer encoding, that is not known")
            headers = received(answer.raw_headers)
            encodings = encoding(answer.raw_headers) if "content-encoding" in answer.headers else ""
            if answer.status < 400 and not media.is_json(answer.content_type):
                return Response(answer.status, headers, _chunks(answer, encodings))
            async with answer:
                body = await _whole(answer)
            return Response(answer.status, headers, decoded_whole(pieces(body), encodings) if encodings else body)
        except TimeoutError as error:  # aiohttp's timeouts are TimeoutErrors, too; the driver's own must pass
            if not isinstance(error, aiohttp.ClientError):
                raise
            raise Unanswered("timeout", type(error).__name__) from error
        except AnswerTooLarge as error:
            raise Unanswered("too_large", str(error)) from error
        except _FAILURES as error:
            raise Unanswered("connection", type(error).__name__) from error

    def _session(self) -> aiohttp.ClientSession:
        """Return the session of the running loop."""
        if self._given is None:
            return self._sessions.get().opened
        loop = asyncio.get_running_loop()
        self._given_to = self._given_to or loop
        if loop is not self._given_to:
            raise WrongEventLoop
        return self._given

    def _opened(self) -> Opened[aiohttp.ClientSession]:
        connector = lenient_connector(
            limit=self._connections, keepalive_timeout=15.0, ssl=self._tls() if self._tls is not None else True
        )
        session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=("User-Agent",)
        )
        return Opened(session, session.close)


def _timeout(original: Any, default: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
    """Return the timeouts of the httpx2 request that this one was made from."""
    steps = original.extensions.get("timeout")
    if steps is None:
        return default
    return aiohttp.ClientTimeout(
        total=None, connect=steps.get("pool"), sock_connect=steps.get("connect"), sock_read=steps.get("read")
    )


def _sent(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers for aiohttp, which sends UTF-8: a value that is UTF-8 on the wire stays what it is."""
    kept = [("accept-encoding", ACCEPTED)]
    for name, value in headers:
        if name.lower() not in SENDER_HEADERS:
            kept.append((name, value if value.isascii() else _utf8(value)))
    return kept


def _utf8(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    parts, left, content = [], MOST_ANSWER_BYTES, answer.content
    try:
        while part := await content.readany():
            parts.append(part)
            left -= len(part)
            if left < 0:
                raise AnswerTooLarge
    except BaseException:
        answer.close()
        raise
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _chunks(answer: aiohttp.ClientResponse, encodings: str) -> AsyncIterator[bytes]:
    try:
        chunks: AsyncIterator[bytes] = answer.content.iter_any()
        async for chunk in adecoded(chunks, encodings) if encodings else chunks:
            yield chunk
    except TimeoutError as error:
        if not isinstance(error, aiohttp.ClientError):
            raise
        raise Unanswered("timeout", type(error).__name__) from error
    except _FAILURES as error:
        raise Unanswered("connection", type(error).__name__) from error
    finally:
        answer.close()
