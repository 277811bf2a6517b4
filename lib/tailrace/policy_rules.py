"""What the texts of a policy may hold: the rules that the client and the section `policy` of a profile share.

Each returns why a value is refused, and what to do; "" when it is right. No credential is in what they return.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from tailrace.credentials import HEADERS, find, in_header, masked, without_arguments

TargetName: TypeAlias = tuple[str, str, str]
"""What tells a target from others: base URL, model and the variable with the key."""
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+", re.I)  # a token of RFC 9110, which may end with our "*"


def ignored_headers_problem(names: Iterable[object]) -> str:
    """Return why headers of these names cannot be left out of a cache key."""
    for name in names:
        if not isinstance(name, str) or not _HEADER.fullmatch(name) or "*" in name[:-1] or name == "*":
            return f"{name!r} is not the name of a header, or the beginning of names as 'x-trace-*'"
        lowered, begins = name.lower(), name[-1] == "*"
        if begins:
            caught = next((one for one in HEADERS if one.startswith(lowered[:-1])), "")
        else:
            caught = lowered if in_header(lowered) else ""
        if caught:
            return f"{name!r} leaves out {caught}, which says who asks; give the cache an identity in its place"
    return ""


def base_url_problem(url: str) -> str:
    """Return why `url` is not the address of an API; "" also for "", which stands for the client's own."""
    if not url:
        return ""
    if not url.startswith(("http://", "https://")) or any(map(str.isspace, url)):
        return "expected http:// or https:// and no blanks, with the API's /v1"
    try:
        place = urlsplit(url)
        host = place.hostname if place.port is None or place.port else None
    except ValueError:
        host = None
    if "@" in url or (host and without_arguments(place.query) != place.query):
        return (
            "found a credential in the address, as a user name or in its query; expected none there: name the variable "
            "that holds the key as api_key_env"
        )
    return "" if host else "expected a host, as in https://api.openai.com/v1"


def shown_url(url: str) -> str:
    """Return `url` as a message shows it: not where it may hold a credential."""
    hidden = "@" in url or "?" in url or any(True for _ in find(url))
    return "an address that may hold a credential (not shown)" if hidden else repr(url)


def target_label(base_url: str, model: str, api_key_env: str) -> str:
    """Return the name of a target in rows and metrics: host and path, model and variable; "own" when all are empty.

    Deployments at one host differ in their path. No user name and no query gets into it, and a key in the path is
    masked.
    """
    return masked(_plain_label((base_url, model, api_key_env)))


def targets_problem(names: Sequence[TargetName]) -> str:
    """Return which target is given twice."""
    places: dict[str, int] = {}
    for number, name in enumerate(names):
        first = places.setdefault(_plain_label(name), number)
        if first != number:
            return (
                f"targets[{number}] is targets[{first}] again ({target_label(*name)}); "
                "give it once, with the weight of both"
            )
    return ""


def _plain_label(name: TargetName) -> str:
    base_url, model, api_key_env = name
    place = urlsplit(base_url)
    address = place.netloc.rpartition("@")[2] + place.path.rstrip("/").removesuffix("/v1")
    return " ".join(part for part in (address, model, api_key_env) if part) or "own"
