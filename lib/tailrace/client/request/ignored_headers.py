"""Headers that a policy leaves out of its cache key, besides those that cannot change an answer."""

from __future__ import annotations

from functools import lru_cache

from tailrace.client.request.key_headers import LeftOut, neutral
from tailrace.credentials import in_header


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
        if in_header(name):
            return identified or neutral(name, value)
        return name in names or name.startswith(prefixes) or neutral(name, value)

    return rule
