"""`/v1/*`: the caller's bytes to the provider and the answer's bytes back, through the policy.

Whose key: where the service has its own (the variable named by TAILRACE_API_KEY_ENV is set), that one is used for
every call, and what the caller sent as a credential never leaves the service: it only keeps the caller's cached
answers apart from those of others. Where the service has none, the caller's own goes through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import openai

from tailrace.client import context, errors, wire
from tailrace.headers import ATTEMPTS, CACHE, COLOUR, OURS, RELEASE
from tailrace.service import answers
from tailrace.service.answers import Answer, Headers, Refusal
from tailrace.service.settings import Settings

Driver = Callable[[wire.Request], Awaitable[wire.Response]]

RETRY_AFTER_S = 2.0
"""Said to callers during an outage, when the provider itself says nothing."""

CREDENTIALS = frozenset({b"authorization", b"api-key", b"x-api-key"})
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade content-length".split()
)
NOT_SENT = HOP_BY_HOP | frozenset(b"host expect accept-encoding cookie forwarded via x-real-ip x-request-id".split())
"""Of a request: about its way to here, or of no concern to a provider. Answers are asked for unpacked, because one
that is cached goes to callers who may unpack nothing."""
INSTANCE = frozenset({COLOUR.encode(), RELEASE.encode()})
"""Headers of an answer in which an instance names itself: this one's, never those of one behind it."""
NOT_SENT_PREFIXES = (b"x-forwarded-", b"x-envoy-")
NOT_RETURNED = HOP_BY_HOP | frozenset(b"date server set-cookie alt-svc strict-transport-security".split())
"""Of an answer: about its way, or for one caller's eyes only."""
OUTAGE = frozenset({502, 503, 504})


class Incoming(NamedTuple):
    """What of a caller's headers goes on, and whose answers it may share."""

    headers: wire.Headers
    tenant: str


class Forward:
    """Sends `/v1/*` through `driver`, and tells its errors in OpenAI's shape."""

    def __init__(self, settings: Settings, driver: Driver) -> None:
        self._base = settings.provider_url
        self._key = settings.api_key
        self._driver = driver

    async def __call__(self, scope: Mapping[str, Any], body: bytes) -> Answer:
        incoming = read_headers(scope["headers"], self._key)
        url = self._base + target(scope["raw_path"], scope["query_string"])
        return await self.call(wire.Request(scope["method"], url, incoming.headers, body), incoming.tenant)

    async def call(self, request: wire.Request, tenant: str) -> Answer:
        """Return the provider's answer, or ours when there is none."""
        try:
            return returned(await self.response(request, tenant))
        except openai.APIError as error:
            return failed(error)

    async def response(self, request: wire.Request, tenant: str) -> wire.Response:
        """Return the driver's response; raises what the client raises when nothing came back."""
        if not tenant:
            return await self._driver(request)
        with context.limits(tenant=tenant):
            return await self._driver(request)


def read_headers(headers: Iterable[tuple[bytes, bytes]], key: str) -> Incoming:
    """Return what goes on to the provider; with a `key` of our own it replaces the caller's credential."""
    sent: list[tuple[str, str]] = []
    credential = b""
    extra = _named_by_connection(headers)
    for name, value in headers:
        if name in CREDENTIALS and key:
            credential += b"%b:%b\n" % (name, value)
        elif name not in NOT_SENT and name not in extra and not name.startswith(NOT_SENT_PREFIXES):
            sent.append((name.decode("latin-1"), value.decode("latin-1")))
    if not key:
        return Incoming(tuple(sent), "")
    sent.append(("authorization", f"Bearer {key}"))
    return Incoming(tuple(sent), hashlib.sha256(credential).hexdigest()[:32] if credential else "")


def target(raw_path: bytes, query: bytes) -> str:
    """Return what follows the provider's base; refuse a path that would lead out of it."""
    segments = unquote_to_bytes(raw_path).replace(b"\\", b"/").split(b"/")
    if b".." in segments or b"." in segments or not raw_path.startswith(b"/v1/"):
        raise Refusal(answers.failure(400, "The path leads out of /v1/.", "invalid_path"))
    path = raw_path[3:].decode("ascii")
    return f"{path}?{query.decode('ascii')}" if query else path


def returned(response: wire.Response) -> Answer:
    """Return a response as it came, without what was about its way; an outage says when to come back."""
    cache = wire.header(response.headers, CACHE) or "bypass"
    outcome = cache if response.status < 400 else "error"
    if response.status >= 500 and not _is_json(response.headers):
        told = answers.failure(
            response.status, f"The provider answered {response.status} and no JSON.", "provider_error"
        )
        headers = told.headers + tuple(pair for pair in _passed(response.headers) if pair[0].startswith(OURS.encode()))
        return _dated(told._replace(headers=headers))
    return _dated(Answer(response.status, _passed(response.headers), response.body, outcome))


def failed(error: openai.APIError) -> Answer:
    """Return the answer for a call that got none: 400 rejected, 429 over budget, 503 outage, 504 too late."""
    attempts = (ATTEMPTS.encode(), b"%d" % getattr(error, "attempts", 0))
    if isinstance(error, errors.InputRejected):
        return answers.failure(400, error.message, "input_rejected", attempts, param=error.where)
    if isinstance(error, errors.BudgetExceeded):
        return answers.failure(429, "The service's spend limit is reached.", "budget_exceeded", attempts)
    later = answers.retry_after(RETRY_AFTER_S)
    if isinstance(error, openai.APITimeoutError):
        return answers.failure(504, "The provider did not answer in time.", "provider_timeout", later, attempts)
    return answers.failure(503, "The provider cannot be reached now.", "provider_unavailable", later, attempts)


def _dated(answer: Answer) -> Answer:
    if answer.status not in OUTAGE or any(name == b"retry-after" for name, _ in answer.headers):
        return answer
    return answer._replace(headers=(*answer.headers, answers.retry_after(RETRY_AFTER_S)))


def _passed(headers: wire.Headers) -> Headers:
    passed = []
    for text, value in headers:
        name = text.lower().encode("latin-1")
        if name == b"x-request-id":
            name = b"x-upstream-request-id"  # the provider's own; ours is the caller's
        elif name in NOT_RETURNED or name in INSTANCE:
            continue
        passed.append((name, value.encode("latin-1")))
    return tuple(passed)


def _is_json(headers: wire.Headers) -> bool:
    return "json" in (wire.header(headers, "content-type") or "")


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> frozenset[bytes]:
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            return frozenset(part.strip().lower() for part in value.split(b","))
    return frozenset()
