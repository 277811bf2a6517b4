"""`/v1/*`: the caller's request to the provider and the provider's response back, through the policy.

If the service has its own key (the variable named by TAILRACE_API_KEY_ENV is set), it sends that key with every call.
The caller's credential then never leaves the service: it only keeps the caller's cached responses apart from those of
other callers. Without a key of its own, the service passes the caller's credential on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import openai

from tailrace import credentials
from tailrace.client import context, errors, wire
from tailrace.headers import ATTEMPTS, OURS
from tailrace.protocol import media
from tailrace.service.http_response import HttpError, HttpResponse, error_response, retry_after
from tailrace.service.response_headers import HOP_BY_HOP, passed
from tailrace.service.settings import Settings

Driver = Callable[[wire.Request], Awaitable[wire.Response]]

RETRY_AFTER_S = 2.0
"""Sent to callers during an outage, unless the provider sends a Retry-After of its own."""
NO_RETRY = (b"x-should-retry", b"false")
"""The SDK retries every other 429."""

NOT_SENT = HOP_BY_HOP | frozenset(b"host expect accept-encoding cookie forwarded via x-real-ip x-request-id".split())
"""Request headers about the hop to this service, or of no concern to a provider. Responses are requested uncompressed,
because a cached one may go to a caller that accepts no compression."""
NOT_SENT_PREFIXES = (b"x-forwarded-", b"x-envoy-")
OUTAGE = frozenset({502, 503, 504})
LAST_STATUS = 599
NO_STATUS = 502
"""What a status beyond the last one is for the caller: none is defined there, and HTTP/1.1 servers cannot send it."""


class UpstreamHeaders(NamedTuple):
    """The headers of a request to the provider, and the tenant that its response may be cached for."""

    headers: wire.Headers
    tenant: str


class Upstream:
    """Sends requests to the provider through `driver`; errors come back in OpenAI's shape."""

    def __init__(self, settings: Settings, driver: Driver) -> None:
        self._base = settings.provider_url
        self._key = settings.api_key
        self._driver = driver
        self._apart = settings.anonymous == "apart"

    async def __call__(self, scope: Mapping[str, Any], body: bytes) -> HttpResponse:
        sent = self.headers(scope)
        url = self._base + upstream_path(scope["raw_path"], scope["query_string"])
        try:
            return caller_response(await self.send(wire.Request(scope["method"], url, sent.headers, body), sent.tenant))
        except openai.APIError as error:
            return failure_response(error)

    def headers(self, scope: Mapping[str, Any]) -> UpstreamHeaders:
        """Return the headers for the provider; a caller without a credential may be kept out of the cache."""
        headers = scope["headers"]
        sent = upstream_headers(headers, self._key)
        return sent if not self._apart or _says_who_asks(headers) else UpstreamHeaders(_not_cached(sent.headers), "")

    async def send(self, request: wire.Request, tenant: str) -> wire.Response:
        """Return the driver's response; raises the client's errors when there is none."""
        if not tenant:
            return await self._driver(request)
        with context.limits(tenant=tenant):
            return await self._driver(request)


def upstream_headers(headers: Iterable[tuple[bytes, bytes]], key: str) -> UpstreamHeaders:
    """Return the headers for the provider; the service's own `key`, if any, replaces the caller's credential."""
    sent: list[tuple[str, str]] = []
    credential = b""
    extra = _named_by_connection(headers)
    for name, value in headers:
        if name in NOT_SENT or name in extra or name.startswith(NOT_SENT_PREFIXES):
            continue
        text = name.decode("latin-1")
        if key and credentials.in_header(text):
            credential += b"%b:%b\n" % (name, value)
        else:
            sent.append((text, value.decode("latin-1")))
    if not key:
        return UpstreamHeaders(tuple(sent), "")
    sent.append(("authorization", f"Bearer {key}"))
    return UpstreamHeaders(tuple(sent), hashlib.sha256(credential).hexdigest()[:32] if credential else "")


def _says_who_asks(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(value.strip() and credentials.in_header(name.decode("latin-1")) for name, value in headers)


def _not_cached(headers: wire.Headers) -> wire.Headers:
    kept = tuple(pair for pair in headers if pair[0] != "cache-control")
    return (*kept, ("cache-control", "no-store"))


def upstream_path(raw_path: bytes, query: bytes) -> str:
    """Return the path and query below the provider's base; raise HttpError for a path that leads out of it."""
    segments = unquote_to_bytes(raw_path).replace(b"\\", b"/").split(b"/")
    if b".." in segments or b"." in segments or not raw_path.startswith(b"/v1/"):
        raise HttpError(error_response(400, "The path leads out of /v1/.", "invalid_path"))
    path = raw_path[3:].decode("ascii")
    return f"{path}?{query.decode('ascii')}" if query else path


def caller_response(response: wire.Response) -> HttpResponse:
    """Return the provider's response for the caller, without hop-by-hop headers; an outage gets a Retry-After."""
    headers, cache = passed(response.headers)
    status = response.status if response.status <= LAST_STATUS else NO_STATUS
    if status >= 500 and not _is_json(response.headers):
        message = f"The provider answered {response.status} without JSON."
        error = error_response(status, message, "provider_error")
        ours = tuple(pair for pair in headers if pair[0].startswith(OURS.encode()))
        return _with_retry_after(error._replace(headers=error.headers + ours))
    outcome = cache or "bypass" if status < 400 else "error"
    return _with_retry_after(HttpResponse(status, headers, response.body, outcome))


def failure_response(error: openai.APIError) -> HttpResponse:
    """Return the response for a call that failed: 400 rejected or without a price, 429 over budget or the service's own
    rate, 502 too large, 503 unavailable or overloaded, 504 timeout.
    """
    attempts = (ATTEMPTS.encode(), b"%d" % getattr(error, "attempts", 0))
    if isinstance(error, errors.InputRejected):
        return error_response(400, error.message, "input_rejected", attempts, param=error.where)
    if isinstance(error, errors.PriceUnknown):
        message = "The service has a spend limit, and no price for this call; choose another model."
        return error_response(400, message, "price_unknown", attempts, param="model")
    if isinstance(error, errors.BudgetExceeded):
        # of itself, or by another call of the same kind, it will not come right
        anew = NO_RETRY if error.retry_after_s is None else retry_after(error.retry_after_s)
        return error_response(429, "The call is beyond the service's spend limit.", "budget_exceeded", attempts, anew)
    if isinstance(error, errors.AnswerTooLarge):
        message = "The provider's answer is larger than the service keeps; ask for less, or for a stream."
        return error_response(502, message, "answer_too_large", attempts, NO_RETRY)
    if isinstance(error, errors.DeadlineExceeded) and error.waited_for:
        return _own_limit(error, attempts)
    later = retry_after(RETRY_AFTER_S)
    if isinstance(error, openai.APITimeoutError):
        return error_response(504, "The provider did not answer in time.", "provider_timeout", later, attempts)
    return error_response(503, "The provider cannot be reached now.", "provider_unavailable", later, attempts)


def _own_limit(error: errors.DeadlineExceeded, attempts: tuple[bytes, bytes]) -> HttpResponse:
    """Return the response for a call that the service itself held back until its deadline."""
    later = retry_after(RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s)
    if error.waited_for == "rate":
        message = "The call is beyond the service's own rate limit."
        return error_response(429, message, "rate_limit_exceeded", attempts, later)
    if error.waited_for == "permit":
        message = "As many calls are under way as the service sends at once."
        return error_response(503, message, "service_overloaded", attempts, later)
    return error_response(503, "No target of the service is ready now.", "provider_unavailable", attempts, later)


def _with_retry_after(response: HttpResponse) -> HttpResponse:
    if response.status not in OUTAGE or any(name == b"retry-after" for name, _ in response.headers):
        return response
    return response._replace(headers=(*response.headers, retry_after(RETRY_AFTER_S)))


def _is_json(headers: wire.Headers) -> bool:
    return media.is_json(wire.header(headers, "content-type") or "")


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            return frozenset(part.strip().lower() for part in value.split(b","))
    return frozenset()
