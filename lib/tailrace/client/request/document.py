"""The JSON body of a request: parsed once, and judged by whether everybody would parse it so.

JSON lets a name stand twice in an object, and numbers have more digits than a float can hold. Parsers differ about
both, so what was read here may not be what the provider reads.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final, TypeAlias

import orjson

Document: TypeAlias = tuple[dict[str, Any] | None, bool, str | None]
"""(fields, exact, doubt): the parsed object, None when the body is none; whether nothing of the body was lost in it but
white space and escapes; why somebody else may read another object in it."""
NONE: Final[Document] = (None, True, None)


def parsed(body: bytes) -> Document:
    """Return the JSON object that `body` is, or `NONE`."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return NONE
    if not isinstance(fields, dict):
        return NONE
    try:
        if orjson.dumps(fields) == body:  # as nearly all clients write it: read back without any loss
            return fields, True, None
    except TypeError:
        return fields, False, "it is nested deeper than 254 levels"
    look = _Look()
    json.loads(body, object_pairs_hook=look.pairs, parse_int=look.integer, parse_float=look.number)
    doubt = "a name stands twice in one object; give it once" if look.repeated else None
    return fields, look.exact and not look.repeated, doubt


class _Look:
    """Looks at what `json.loads` takes for granted."""

    def __init__(self) -> None:
        self.exact = True
        self.repeated = False

    def pairs(self, pairs: list[tuple[str, Any]]) -> None:
        self.repeated = self.repeated or len(pairs) != len({name for name, _ in pairs})

    def integer(self, text: str) -> None:
        held = len(text) < 19 or (len(text) <= 20 and -(2**63) <= int(text) < 2**64)
        self.exact = self.exact and held

    def number(self, text: str) -> None:
        self.exact = self.exact and Decimal(text) == Decimal(repr(float(text)))
