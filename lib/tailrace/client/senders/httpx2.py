"""Senders with an `httpx2` transport: the SDK's own, or any other.

JSON and errors are read to their end, because the policy reads them; everything else (event streams, audio, files)
passes as a stream. Bodies are decoded here, so that the cache holds decoded answers.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from tailrace.client.senders import decoding
from tailrace.client.senders.decoding import AnswerTooLarge
from tailrace.client.wire import Request, Response, Unanswered, header, received
from tailrace.protocol import media

_FAILURES: Final = (httpx2.TransportError, httpx2.DecodingError, AnswerTooLarge)


@dataclass(frozen=True, slots=True)
class AsyncSender:
    inner: httpx2.AsyncBaseTransport

    async def __call__(self, request: Request) -> Response:
        try:
            answer = await self.inner.handle_async_request(_request(request))
            if _streamed(answer):
                return Response(answer.status_code, received(answer.headers.raw), _achunks(answer))
            try:
                body = await _awhole(answer)
            finally:
                await answer.aclose()
        except _FAILURES as error:
            raise unanswered(error) from error
        return Response(answer.status_code, received(answer.headers.raw), body)


@dataclass(frozen=True, slots=True)
class Sender:
    inner: httpx2.BaseTransport

    def __call__(self, request: Request) -> Response[Iterator[bytes]]:
        began = time.perf_counter()
        try:
            sent = _request(request)
            own_s = (sent.extensions.get("timeout") or {}).get("read")
            answer = self.inner.handle_request(_with_timeout(sent, request.timeout_s))
            if _streamed(answer):
                _limit_silence(sent, own_s, request.silence_s)
                return Response(answer.status_code, received(answer.headers.raw), _chunks(answer))
            body = _whole(answer, began, request.timeout_s)
        except _FAILURES as error:
            raise unanswered(error) from error
        return Response(answer.status_code, received(answer.headers.raw), body)


def unanswered(error: Exception) -> Unanswered:
    """Return the `Unanswered` that a transport's error means."""
    if isinstance(error, AnswerTooLarge):
        return Unanswered("too_large", str(error))
    timeout = isinstance(error, httpx2.TimeoutException)
    return Unanswered("timeout" if timeout else "connection", type(error).__name__)


def _request(request: Request) -> httpx2.Request:
    """Return the original httpx2 request, with our idempotency key, unless its URL, body or key has changed."""
    original = request.extensions
    if request.upload is not None:
        return _upload(request, original, request.upload.body)
    if isinstance(original, httpx2.Request) and _unchanged(original, request):
        key = header(request.headers, "idempotency-key")
        if key is not None:
            original.headers["idempotency-key"] = key
        return original
    headers = [(name, value) for name, value in request.headers if name.lower() not in ("content-length", "host")]
    timeout = original.extensions if isinstance(original, httpx2.Request) else {}
    return httpx2.Request(
        request.method, request.url, headers=headers, content=request.body or None, extensions=dict(timeout)
    )


def _unchanged(original: httpx2.Request, request: Request) -> bool:
    """Whether `request` is the caller's own, and not one to another place or with another key."""
    return (
        str(original.url) == request.url
        and original.content == request.body
        and all(original.headers.get(name) == header(request.headers, name) for name in ("authorization", "api-key"))
    )


def _upload(request: Request, original: httpx2.Request, body: Any) -> httpx2.Request:
    """Return the request with the stream `body`, which is read anew."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
    if header(request.headers, "host") is None:
        headers.insert(0, (b"host", httpx2.URL(request.url).netloc))
    stream: Any = body if request.timeout_s is None else _InTime(body, request.timeout_s)
    return httpx2.Request(
        request.method, request.url, headers=headers, stream=stream, extensions=dict(original.extensions)
    )


class _InTime(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """The body of an upload, which has to be sent within `timeout_s`: a transport limits only each piece of it."""

    def __init__(self, body: Any, timeout_s: float) -> None:
        self._body = body
        self._until = time.perf_counter() + timeout_s
        self._timeout_s = timeout_s

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            if time.perf_counter() > self._until:
                raise httpx2.WriteTimeout(f"not sent within {self._timeout_s:.3f} s")
            yield piece

    def __aiter__(self) -> AsyncIterator[bytes]:
        pieces: AsyncIterator[bytes] = self._body.__aiter__()  # the driver limits the time
        return pieces


def _with_timeout(request: httpx2.Request, timeout_s: float | None) -> httpx2.Request:
    """Limit each step of the attempt to the time left; `_whole` limits all of them together."""
    if timeout_s is not None:
        own: dict[str, Any] = request.extensions.get("timeout") or {}
        steps = {
            step: timeout_s if (least := own.get(step)) is None else min(least, timeout_s)
            for step in ("connect", "read", "write", "pool")
        }
        request.extensions = {**request.extensions, "timeout": steps}
    return request


def _limit_silence(sent: httpx2.Request, own_s: float | None, silence_s: float | None) -> None:
    """Limit each wait of a stream: httpx2's transport reads the time anew when it begins to read a body."""
    read_s = min((limit for limit in (own_s, silence_s) if limit is not None), default=None)
    steps = sent.extensions.get("timeout") or {}
    if steps.get("read") != read_s:
        sent.extensions["timeout"] = {**steps, "read": read_s}


def _streamed(answer: httpx2.Response) -> bool:
    return answer.status_code < 400 and not media.is_json(answer.headers.get("content-type", ""))


async def _achunks(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    except _FAILURES as error:
        raise unanswered(error) from error
    finally:
        await answer.aclose()


def _chunks(answer: httpx2.Response) -> Iterator[bytes]:
    try:
        yield from answer.iter_bytes()
    except _FAILURES as error:
        raise unanswered(error) from error
    finally:
        answer.close()


async def _awhole(answer: httpx2.Response) -> bytes:
    chunks, left = [], decoding.MOST_ANSWER_BYTES
    async for chunk in answer.aiter_bytes():
        chunks.append(chunk)
        left -= len(chunk)
        if left < 0:
            raise AnswerTooLarge
    return b"".join(chunks)


def _whole(answer: httpx2.Response, began: float, timeout_s: float | None) -> bytes:
    try:
        chunks = []
        for chunk in decoding.bounded(answer.iter_bytes()):
            chunks.append(chunk)
            if timeout_s is not None and time.perf_counter() - began > timeout_s:
                raise httpx2.ReadTimeout(f"no whole answer within {timeout_s:.3f} s")
        return b"".join(chunks)
    finally:
        answer.close()
