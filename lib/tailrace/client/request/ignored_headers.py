"""Headers that a policy leaves out of its cache key, besides those that cannot change an answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from tailrace import credentials
from tailrace.client.request.key_headers import LeftOut, neutral

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.I)  # a token of RFC 9110, which may end with our "*"


@lru_cache(maxsize=64)
def left_out(ignored: tuple[str, ...] = (), identified: bool = False) -> LeftOut:
    """Return which headers are left out of the key: neutral ones, the `ignored`, and, when who asks is `identified`
    otherwise, credentials.

    A name in `ignored` that ends with `*` stands for all that begin so.
    """
    if not ignored and not identified:
        return neutral
    lowered = [name.lower() for name in ignored]
    names = frozenset(name for name in lowered if name[-1:] != "*")
    prefixes = tuple(name[:-1] for name in lowered if name[-1:] == "*")

    def rule(name: str, value: str) -> bool:
        if credentials.in_header(name):
            return identified or neutral(name, value)
        return name in names or name.startswith(prefixes) or neutral(name, value)

    return rule


def objection(ignored: Iterable[str]) -> str:
    """Return why these names cannot be left out of the key, and what to do; "" when they can."""
    for name in ignored:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or "*" in name[:-1] or name == "*":
            return f"{name!r} is not the name of a header, or the beginning of names as 'x-trace-*'"
        lowered, begins = name.lower(), name[-1] == "*"
        if begins:
            caught = next((one for one in credentials.HEADERS if one.startswith(lowered[:-1])), "")
        else:
            caught = lowered if credentials.in_header(lowered) else ""
        if caught:
            return f"{name!r} leaves out {caught}, which says who asks; give Cache(identity=…) in its place"
    return ""
