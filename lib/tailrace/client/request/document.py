"""The JSON body of a request, parsed once, and whether every parser would read the same in it.

JSON allows a name twice in one object, and numbers with more digits than a float holds. Parsers differ about both, so
the provider may read something else than we do.

White space before the object is allowed (RFC 8259, 2). A byte order mark is not (8.1), but parsers may ignore it, and
those of Python and Node do. Python's reads UTF-16 and UTF-32, too. So may the provider: all of these are read here.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final, TypeAlias

import orjson

Document: TypeAlias = tuple[dict[str, Any] | None, bool, str | None]
"""(fields, exact, doubt): the parsed object, None when the body is not one; whether parsing lost only white space and
escapes; why another parser may read another object."""
NONE: Final[Document] = (None, True, None)
_BEGINS: Final = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\x00*\xfe\xff)?[ \t\r\n\x00]*\{")


def begins(body: bytes) -> bool:
    """Whether `body` begins like a JSON object, after white space or a byte order mark, in any encoding of Unicode."""
    return body[:1] == b"{" or _BEGINS.match(body) is not None


def parsed(body: bytes) -> Document:
    """Return the JSON object in `body`, or `NONE`."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _recoded(body)
    return _judged(fields, body)


def _judged(fields: Any, body: bytes) -> Document:
    """Return what was parsed from `body` with what other parsers may make of it."""
    if not isinstance(fields, dict):
        return NONE
    try:
        if orjson.dumps(fields) == body:  # as nearly all clients write it: it can be written back without loss
            return fields, True, None
    except TypeError:
        return fields, False, "it is nested deeper than 254 levels"
    scan = _Scan()
    json.loads(body, object_pairs_hook=scan.pairs, parse_int=scan.integer, parse_float=scan.number)
    doubt = "a name occurs twice in one object; give it once" if scan.repeated else None
    return fields, scan.exact and not scan.repeated, doubt


def _recoded(body: bytes) -> Document:
    """Return the JSON object in a `body` with a byte order mark, or in UTF-16 or UTF-32; else `NONE`."""
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return NONE
    try:
        text = body.decode(encoding).encode()
        fields, _, doubt = _judged(orjson.loads(text), text)
    except ValueError:  # no text in that encoding, or no JSON
        return NONE
    if fields is not None and encoding != "utf-8-sig":  # what searches the bytes of a body finds nothing in it
        doubt = "it is in UTF-16 or UTF-32; send it in UTF-8"
    return fields, False, doubt


class _Scan:
    """Hooks for `json.loads` that note repeated names and inexact numbers."""

    def __init__(self) -> None:
        self.exact = True
        self.repeated = False

    def pairs(self, pairs: list[tuple[str, Any]]) -> None:
        self.repeated = self.repeated or len(pairs) != len({name for name, _ in pairs})

    def integer(self, text: str) -> None:
        fits = len(text) < 19 or (len(text) <= 20 and -(2**63) <= int(text) < 2**64)
        self.exact = self.exact and fits

    def number(self, text: str) -> None:
        self.exact = self.exact and Decimal(text) == Decimal(repr(float(text)))
