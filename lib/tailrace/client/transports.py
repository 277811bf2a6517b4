"""The policy as an `httpx2` transport: for the SDK's clients, stock or ours, and for any other `httpx2` client.

client = openai.AsyncOpenAI(http_client=httpx2.AsyncClient(transport=async_transport(Policy())), max_retries=0)
"""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias

import httpx2
from openai import DEFAULT_CONNECTION_LIMITS

from tailrace.client import errors, uploads
from tailrace.client.drivers import AsyncDriver, Driver
from tailrace.client.event_loops import LoopTransport, OneLoop
from tailrace.client.policy import Policy
from tailrace.client.request import document
from tailrace.client.response.streams import aclose, close
from tailrace.client.sdk.fast_path import ANSWER_KEYS
from tailrace.client.senders.httpx2 import AsyncSender, Sender
from tailrace.client.wire import Headers, Request, Response, raw
from tailrace.protocol import media
from tailrace.protocol.failures import ERROR_EVENT

AsyncSend: TypeAlias = Callable[[Request], Awaitable[Response]]
Send: TypeAlias = Callable[[Request], Response[Iterator[bytes]]]
RawHeaders: TypeAlias = tuple[tuple[bytes, bytes], ...]
_END: Final = re.compile(rb"data:(?= ?\[DONE\])")
_remembering: Final = lru_cache(maxsize=64)
"""A client sends the same headers again and again; they are remembered as long as the client lives."""


def async_transport(policy: Policy | None = None, inner: httpx2.AsyncBaseTransport | None = None) -> AsyncTransport:
    """Return a transport that carries requests through `policy`, and makes its attempts with `inner`."""
    if inner is None:
        return AsyncTransport(
            policy or Policy(), LoopTransport(lambda: httpx2.AsyncHTTPTransport(limits=DEFAULT_CONNECTION_LIMITS))
        )
    return AsyncTransport(policy or Policy(), inner)


def transport(policy: Policy | None = None, inner: httpx2.BaseTransport | None = None) -> Transport:
    """Return a blocking transport that carries requests through `policy`, and makes its attempts with `inner`."""
    return Transport(policy or Policy(), inner or httpx2.HTTPTransport(limits=DEFAULT_CONNECTION_LIMITS))


class AsyncTransport(httpx2.AsyncBaseTransport):
    def __init__(self, policy: Policy, inner: httpx2.AsyncBaseTransport, send: AsyncSend | None = None) -> None:
        self.policy = policy
        self.inner = inner
        below = AsyncSender(inner)
        self._send: Any = send or below
        self._one_loop = OneLoop.of(getattr(inner, "transports", (inner,)))
        self.driver = AsyncDriver(policy, below if send is None else _by_body(send, below))
        self._decoded = _remembering(_decoded)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.policy.empty:
            return await self.inner.handle_async_request(request)
        if self._one_loop is not None:
            self._one_loop.check()
        began = time.perf_counter()
        _warn_of_sdk_retries(request, self.policy)
        wired = _wire(request, await request.aread(), self._decoded) if _json(request) else _upload(request)
        response = await self.driver(wired)
        return _answer(response, request, _AsyncStream, began)

    async def aclose(self) -> None:
        await self.driver.aclose()
        if hasattr(self._send, "close"):
            await self._send.close()
        await self.inner.aclose()


class Transport(httpx2.BaseTransport):
    def __init__(self, policy: Policy, inner: httpx2.BaseTransport, send: Send | None = None) -> None:
        self.policy = policy
        self.inner = inner
        below = Sender(inner)
        self._send: Any = send or below
        self.driver = Driver(policy, below if send is None else _by_body(send, below))
        self._decoded = _remembering(_decoded)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.policy.empty:
            return self.inner.handle_request(request)
        began = time.perf_counter()
        _warn_of_sdk_retries(request, self.policy)
        wired = _wire(request, request.read(), self._decoded) if _json(request) else _upload(request)
        response = self.driver(wired)
        return _answer(response, request, _Stream, began)

    def close(self) -> None:
        if hasattr(self._send, "close"):
            self._send.close()
        self.inner.close()


class _AsyncStream(httpx2.AsyncByteStream):
    def __init__(self, body: AsyncIterator[bytes], request: httpx2.Request) -> None:
        self._body = body
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            failed = _failed(self._body, self._request)
            yield _END.sub(b":", chunk) if failed else chunk
            if failed:
                raise errors.in_stream(self._request)

    async def aclose(self) -> None:
        await aclose(self._body)


class _Stream(httpx2.SyncByteStream):
    def __init__(self, body: Iterator[bytes], request: httpx2.Request) -> None:
        self._body = body
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._body:
            failed = _failed(self._body, self._request)
            yield _END.sub(b":", chunk) if failed else chunk
            if failed:
                raise errors.in_stream(self._request)

    def close(self) -> None:
        close(self._body)


def _failed(body: object, request: httpx2.Request) -> bool:
    """Whether an error has shown in a stream. The SDK raises one form of it; for the others we raise after that chunk.

    The terminator is taken out of the chunk, else the SDK would leave at it and take the answer for a whole one.
    Responses are left as they are: their errors are events that the SDK hands to its caller.
    """
    return getattr(body, "failure", "") == ERROR_EVENT and not request.url.path.endswith("/responses")


def _warn_of_sdk_retries(request: httpx2.Request, policy: Policy) -> None:
    """Warn when an SDK above retries as well: each of its retries repeats all of our attempts."""
    if policy.retry is not None and request.headers.get("x-stainless-retry-count", "0") != "0":
        warnings.warn(
            "an SDK's own retries and Policy(retry=…) multiply: each of its tries makes up to "
            f"{policy.retry.attempts} attempts; give the SDK's client max_retries=0",
            RuntimeWarning,
            stacklevel=2,
        )


def _json(request: httpx2.Request) -> bool:
    """Whether the policy reads the body: JSON, or none. Everything else is an upload."""
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/json") or media.is_json(kind):
        return True
    # what has been read and looks like JSON is taken for it, whatever its type says: no way round a limit
    content: bytes = getattr(request, "_content", b"-")
    return request.method in ("GET", "HEAD", "DELETE", "OPTIONS") or not content or document.begins(content)


def _by_body(lean: Any, below: Any) -> Any:
    """Return a sender that gives uploads to `below`: the lean senders take bodies that are in memory."""
    return lambda request: (lean if request.upload is None else below)(request)


def _upload(request: httpx2.Request) -> Request:
    """Return a request whose body is read while it is sent. Its headers are not remembered: each form has its own."""
    headers = _decoded(tuple(request.headers.raw))
    upload = uploads.opened(request)
    return Request(request.method, str(request.url), headers, b"", None, request, None, upload)


def _wire(request: httpx2.Request, body: bytes, decoded: Callable[[RawHeaders], Headers]) -> Request:
    sent = tuple([pair for pair in request.headers.raw if len(pair[0]) != 14 or pair[0].lower() != b"content-length"])
    return Request(request.method, str(request.url), decoded(sent), body, None, request)


def _decoded(sent: RawHeaders) -> Headers:
    return tuple([(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in sent])


def _answer(response: Response[Any], request: httpx2.Request, stream: Any, began: float) -> httpx2.Response:
    body: Any = (
        {"content": response.body} if isinstance(response.body, bytes) else {"stream": stream(response.body, request)}
    )
    keys = ANSWER_KEYS.get()
    if keys is not None:
        keys.append(response.key)
    extensions = {"http_version": b"HTTP/1.1"}
    answer = httpx2.Response(
        response.status, headers=raw(response.headers), request=request, extensions=extensions, **body
    )
    if isinstance(response.body, bytes):  # httpx2 measures only streams
        answer.elapsed = timedelta(seconds=time.perf_counter() - began)
    return answer
