"""Fallbacks: other models or providers, tried in order, each with a request and a cache key of its own."""

from __future__ import annotations

import os
from dataclasses import replace
from urllib.parse import urlsplit

import orjson

from tailrace.client.call.pending import PendingCall
from tailrace.client.policy import Fallback, Policy
from tailrace.client.request import envelope
from tailrace.client.request.envelope import PATHS
from tailrace.client.request.key import cache_key
from tailrace.client.request.parsed import ParsedRequest, parse
from tailrace.client.wire import Headers, Request

CREDENTIALS = ("authorization", "api-key", "x-api-key", "proxy-authorization", "cookie")
_OWNED = (*CREDENTIALS, "openai-organization", "openai-project", "host", "content-length")


def choices(call: PendingCall, policy: Policy) -> list[ParsedRequest]:
    """Return the request of `call`, then those of the fallbacks."""
    original = call.original
    if not original.known:
        return [original]
    return [original, *(_instead(original, call.tenant, fallback, policy) for fallback in policy.fallbacks)]


def check(policy: Policy) -> None:
    """Raise ValueError when the credential of a fallback is missing: an outage is too late to notice."""
    for number, fallback in enumerate(policy.fallbacks):
        if fallback.api_key_env and not os.environ.get(fallback.api_key_env):
            raise ValueError(
                f"Policy(fallbacks[{number}]): the variable {fallback.api_key_env} is not set or empty; "
                "set it before the client is made, or leave api_key_env out"
            )


def _instead(original: ParsedRequest, tenant: str, fallback: Fallback, policy: Policy) -> ParsedRequest:
    """Return the request to `fallback` that takes the place of `original`."""
    document, exact = original.document or {}, original.exact
    request = original.request
    url = _moved(request.url, fallback.base_url) if fallback.base_url else request.url
    body = request.body
    if fallback.model:
        document = {**document, "model": fallback.model}
        body, exact = orjson.dumps(document), True
    request = replace(request, url=url, headers=_headers(request, url, fallback.api_key_env), body=body)
    cache = policy.cache
    if cache is None or not original.key:
        return parse(request, envelope.read(request, tenant))
    parsed = parse(request, envelope.read(request, tenant, cache.namespace, cache.left_out))
    parsed.identity = original.identity
    parsed.key = cache_key(parsed.envelope.asker + original.identity, body, document if exact else None)
    return parsed


def _moved(url: str, base_url: str) -> str:
    """Return `url` at another base URL, with the same endpoint and query."""
    path, query = urlsplit(url).path, urlsplit(url).query
    endpoint = next((endpoint for endpoint in PATHS if path.endswith(endpoint)), path)
    return base_url.rstrip("/") + endpoint + (f"?{query}" if query else "")


def _headers(request: Request, url: str, api_key_env: str) -> Headers:
    """Return the headers for `url`; what belongs to one origin is not sent to another."""
    same_origin = urlsplit(url)[:2] == urlsplit(request.url)[:2] and not api_key_env
    dropped = ("content-length",) if same_origin else _OWNED
    headers = tuple((name, value) for name, value in request.headers if name.lower() not in dropped)
    api_key = os.environ.get(api_key_env, "") if api_key_env else ""
    return (*headers, ("authorization", f"Bearer {api_key}")) if api_key else headers
