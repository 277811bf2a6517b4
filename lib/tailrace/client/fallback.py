"""Whom to ask, in order. Each choice is a request of its own, cached under what was really asked."""

from __future__ import annotations

import os
from dataclasses import replace
from urllib.parse import urlsplit

import orjson

from tailrace.client.call import Asked
from tailrace.client.policy import Fallback, Policy
from tailrace.client.request import envelope, operation
from tailrace.client.request.envelope import PATHS
from tailrace.client.request.key import cache_key
from tailrace.client.wire import Headers, Request

CREDENTIALS = ("authorization", "api-key", "x-api-key", "proxy-authorization", "cookie")
_OWNED = (*CREDENTIALS, "openai-organization", "openai-project", "host", "content-length")


def choices(asked: Asked, policy: Policy) -> list[Asked]:
    """Return `asked`, and what to ask instead when that fails."""
    if not asked.operation.known:
        return [asked]
    return [asked, *(_instead(asked, fallback, policy) for fallback in policy.fallbacks)]


def check(policy: Policy) -> None:
    """Raise ValueError when the credential of a fallback is not there: in an outage it would be too late to hear it."""
    for number, one in enumerate(policy.fallbacks):
        if one.api_key_env and not os.environ.get(one.api_key_env):
            raise ValueError(
                f"Policy(fallbacks[{number}]): the variable {one.api_key_env} is not set or empty; "
                "set it before the client is made, or leave api_key_env out"
            )


def _instead(asked: Asked, fallback: Fallback, policy: Policy) -> Asked:
    document = asked.operation.document or {}
    body, exact = asked.request.body, asked.operation.exact
    if fallback.model:
        document = {**document, "model": fallback.model}
        body, exact = orjson.dumps(document), True
    url = _moved(asked.request.url, fallback.base_url) if fallback.base_url else asked.request.url
    headers = _headers(asked.request, url, fallback.api_key_env)
    request = replace(asked.request, url=url, headers=headers, body=body)
    outside = envelope.read(request, asked.tenant, policy.cache.namespace if policy.cache is not None else "")
    key = cache_key(outside.asker, body, document if exact else None) if asked.key else ""
    return replace(asked, request=request, envelope=outside, operation=operation.read(outside, body), key=key)


def _moved(url: str, base_url: str) -> str:
    path, query = urlsplit(url).path, urlsplit(url).query
    end = next((end for end in PATHS if path.endswith(end)), path)
    return base_url.rstrip("/") + end + (f"?{query}" if query else "")


def _headers(request: Request, url: str, api_key_env: str) -> Headers:
    """Return the headers for `url`; what belongs to one origin stays with it."""
    same = urlsplit(url)[:2] == urlsplit(request.url)[:2] and not api_key_env
    dropped = ("content-length",) if same else _OWNED
    headers = tuple((name, value) for name, value in request.headers if name.lower() not in dropped)
    key = os.environ.get(api_key_env, "") if api_key_env else ""
    return (*headers, ("authorization", f"Bearer {key}")) if key else headers
