"""The provider's headers as they go to the caller: none of them may cost the answer, or speak for us."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from tailrace.client.wire import Headers as WireHeaders
from tailrace.client.wire import octets
from tailrace.headers import CACHE, COLOUR, GENERATION, OURS, RELEASE
from tailrace.service.http_response import Headers

HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade content-length".split()
)
INSTANCE: Final = frozenset(name.encode() for name in (COLOUR, RELEASE, GENERATION))
"""Headers in which instance and edge name themselves: never those of one behind this instance."""
NOT_RETURNED: Final = HOP_BY_HOP | INSTANCE | frozenset(
    b"date server set-cookie alt-svc strict-transport-security x-sendfile".split()
)  # fmt: skip
"""Headers about the hop from the provider, or meant for one caller only."""
NOT_RETURNED_PREFIXES: Final = (b"x-envoy-", b"x-accel-")
"""Orders to a proxy: the edge takes an instance out when an answer has `x-envoy-immediate-health-check-fail`."""
MOST: Final = 64
MOST_BYTES: Final = 32 << 10
"""Further headers are left out: beyond 100 of them, or 60 KiB, the edge would give 502 in place of the answer."""
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BAD: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Passed(NamedTuple):
    """The headers for the caller, and what the client's cache said."""

    headers: Headers
    cache: str


def passed(headers: WireHeaders) -> Passed:
    """Return what goes to the caller; a header that HTTP does not allow is left out.

    What the client has stamped on the answer comes last, and takes the place of what the provider has sent as ours.
    """
    kept: list[tuple[bytes, bytes]] = []
    ours: list[tuple[bytes, bytes]] = []
    cache = ""
    for text, value in headers:
        name, own = _name(text)
        if own:
            if text == CACHE:
                ours, cache = [], value
            ours.append((name, octets(value)))
        elif name:
            kept.append((name, octets(value)))
    values = b"".join([value for _, value in kept])
    if len(values) > MOST_BYTES or len(kept) > MOST or _BAD.search(values):
        kept = _allowed(kept)
    return Passed((*kept, *ours), cache)


def _allowed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    allowed: list[tuple[bytes, bytes]] = []
    left_bytes = MOST_BYTES
    for name, value in headers:
        if len(value) <= left_bytes and len(allowed) < MOST and not _BAD.search(value):
            allowed.append((name, value))
            left_bytes -= len(value)
    return allowed


@lru_cache(maxsize=1024)
def _name(text: str) -> tuple[bytes, bool]:
    """Return the name that the caller gets, b"" for none, and whether it is one of our own."""
    name = octets(text.lower())
    if name == b"x-request-id":
        return b"x-upstream-request-id", False  # the provider's own; ours is the caller's
    if name in NOT_RETURNED or name.startswith(NOT_RETURNED_PREFIXES) or not _NAME.fullmatch(name):
        return b"", False
    return name, name.startswith(OURS.encode())
