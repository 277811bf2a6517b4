"""Fallbacks: other models or providers, tried in order, each with a request and a cache key of its own."""

from __future__ import annotations

import os
from dataclasses import replace

import orjson

from tailrace.client.call.pending import PendingCall
from tailrace.client.policy import Fallback, Policy
from tailrace.client.request import address, envelope
from tailrace.client.request.key import cache_key
from tailrace.client.request.parsed import ParsedRequest, parse


def choices(call: PendingCall, policy: Policy) -> list[ParsedRequest]:
    """Return the request of `call`, then those of the fallbacks."""
    original = call.original
    if not original.known:
        return [original]
    return [original, *(_instead(original, call.tenant, fallback, policy) for fallback in policy.fallbacks)]


def check(policy: Policy) -> None:
    """Raise ValueError when the credential of a target or fallback is missing: an outage is too late to notice."""
    named = [(f"targets[{number}]", target.api_key_env) for number, target in enumerate(policy.targets)]
    named += [(f"fallbacks[{number}]", fallback.api_key_env) for number, fallback in enumerate(policy.fallbacks)]
    for setting, variable in named:
        if variable and not os.environ.get(variable):
            raise ValueError(
                f"Policy({setting}): the variable {variable} is not set or empty; "
                "set it before the client is made, or leave api_key_env out"
            )


def _instead(original: ParsedRequest, tenant: str, fallback: Fallback, policy: Policy) -> ParsedRequest:
    """Return the request to `fallback` that takes the place of `original`."""
    document, exact = original.document or {}, original.exact
    request = original.request
    url = address.moved(request.url, fallback.base_url) if fallback.base_url else request.url
    api_key = os.environ.get(fallback.api_key_env, "") if fallback.api_key_env else None
    body = request.body
    if fallback.model:
        document = {**document, "model": fallback.model}
        body, exact = orjson.dumps(document), True
    request = replace(request, url=url, headers=address.headers(request.headers, request.url, url, api_key), body=body)
    cache = policy.cache
    if cache is None or not original.key:
        return parse(request, envelope.read(request, tenant))
    parsed = parse(request, envelope.read(request, tenant, cache.namespace, cache.left_out))
    parsed.identity = original.identity
    parsed.key = cache_key(parsed.envelope.asker + original.identity, body, document if exact else None)
    return parsed
