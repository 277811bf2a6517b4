"""Who asks, in the cache key: the credential, unless the policy names its callers in another way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TypeAlias

from tailrace.client.request.key import framed
from tailrace.client.wire import Request

Identity: TypeAlias = str | Callable[[Mapping[str, str]], str]
"""A name for all callers of a client, or what finds one in the headers of a request (names in lower case)."""
Identify: TypeAlias = Callable[[Request], bytes | None]

log = logging.getLogger(__name__)


def identifier(identity: Identity | None) -> Identify | None:
    """Return what gives the part of the key for `identity`; None when the credential stands in the key.

    It returns None for a request whose caller has no name: its answer is neither looked up nor stored.
    """
    if identity is None:
        return None
    if isinstance(identity, str):
        part = _part(identity)
        return lambda _request: part
    find = identity

    def identify(request: Request) -> bytes | None:
        try:
            found = find({name.lower(): value for name, value in request.headers})
        except Exception as error:  # a call that cannot be cached can still be made
            log.warning("Cache(identity=…) failed, the call is not cached: %s", type(error).__name__)
            return None
        return _part(found) if isinstance(found, str) and found else None

    return identify


def _part(name: str) -> bytes:
    return framed((name.encode("utf-8", "surrogatepass"),))
