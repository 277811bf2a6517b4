"""What in a request is a credential: it belongs to one origin, and tells one account from another."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from tailrace.client.request.key_headers import neutral
from tailrace.client.wire import Headers
from tailrace.credentials import in_argument, in_header

_ACCOUNT: Final = frozenset({"openai-organization", "openai-project", "x-goog-user-project"})
"""Not secret, but a part of what is billed and limited."""


def belongs_to_account(name: str) -> bool:
    """Whether a header of this name (lower case) means nothing to another account."""
    return name in _ACCOUNT or in_header(name)


def fingerprint(headers: Headers, query: str) -> int:
    """Return a number that tells the accounts of two requests apart, within this process only.

    Python's hash of text is keyed at random for each process, so the number says nothing about a credential.
    """
    lowered = ((name.lower(), value) for name, value in headers)
    held = [(name, value) for name, value in lowered if belongs_to_account(name) and not neutral(name, value)]
    if query:
        held += [pair for pair in parse_qsl(query) if in_argument(pair[0])]
    return hash(tuple(sorted(held)))
