"""HTTP responses that the service makes itself: JSON, and errors in the shape that OpenAI clients parse."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import openai
import orjson

from tailrace.protocol import media
from tailrace.service.event_stream import StreamCut

Headers = tuple[tuple[bytes, bytes], ...]


class HttpResponse(NamedTuple):
    """A response to the caller; `body` is whole, or comes chunk by chunk."""

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    outcome: str = ""
    """Label in the duration histogram: a result of the cache look-up, or "error"."""


class HttpError(Exception):
    """Ends the handling of a request with this response."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(status: int, content: Any, *headers: tuple[bytes, bytes]) -> HttpResponse:
    """Return `content` as JSON."""
    return HttpResponse(status, ((b"content-type", b"application/json"), *headers), orjson.dumps(content))


def error_response(
    status: int, message: str, code: str, *headers: tuple[bytes, bytes], param: str | None = None
) -> HttpResponse:  # fmt: skip
    """Return `{"error": {message, type, param, code}}`; `message` must not repeat anything that the caller sent."""
    error = {"message": message, "type": _error_type(status), "param": param, "code": code}
    return json_response(status, {"error": error}, *headers)._replace(outcome="error")


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """Return the header, in whole seconds, at least one."""
    return (b"retry-after", b"%d" % max(1, math.ceil(seconds)))


def not_found() -> HttpResponse:
    return error_response(404, "There is no such path; known: /v1/*, /ask, /healthz, /readyz, /metrics.", "not_found")


def not_allowed(*methods: str) -> HttpResponse:
    allowed = ", ".join(methods)
    message = f"Method not allowed; allowed: {allowed}."
    return error_response(405, message, "method_not_allowed", (b"allow", allowed.encode()))


def too_large(limit_bytes: int) -> HttpResponse:
    return error_response(413, f"The request's body is larger than {limit_bytes} bytes.", "request_too_large")


def too_slow(size_bytes: int, waited_s: float) -> HttpResponse:
    message = f"Only {size_bytes} bytes of the request's body came in {waited_s:.3g} s; send it again."
    return error_response(408, message, "request_too_slow", (b"connection", b"close"))


def overloaded(holds: str) -> HttpResponse:
    message = f"The service has {holds}; send the request again."
    return error_response(503, message, "overloaded", retry_after(1))


def draining() -> HttpResponse:
    message = "The service is shutting down; send the request again."
    return error_response(503, message, "draining", retry_after(1))


def cut(error: BaseException) -> tuple[str, str]:
    """Return message and code of the event that ends a stream which `error` has cut."""
    if isinstance(error, asyncio.CancelledError):
        return "The service is shutting down; the answer is not whole. Send the request again.", "draining"
    if isinstance(error, openai.APITimeoutError):
        return "The provider fell silent; the answer is not whole.", "provider_timeout"
    if isinstance(error, openai.APIError | StreamCut):
        return "The provider ended the stream early; the answer is not whole.", "stream_cut"
    return (
        "The service failed; the answer is not whole. Its log has the error under this request's id.",
        "internal_error",
    )


def is_event_stream(response: HttpResponse) -> bool:
    """Whether the body is a stream of server-sent events."""
    return any(name == b"content-type" and media.is_event_stream(value.decode("latin-1"))
               for name, value in response.headers)  # fmt: skip


def internal_error() -> HttpResponse:
    message = "The service failed; its log has the error under this request's id."
    return error_response(500, message, "internal_error")


def _error_type(status: int) -> str:
    types = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return types.get(status, "server_error" if status >= 500 else "invalid_request_error")
