"""The JSON body of a request: parsed once, and judged by whether everybody would parse it so.

JSON lets a name stand twice in an object, and numbers have more digits than a float can hold. Parsers differ about
both, so what was read here may not be what the provider reads.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, NamedTuple

import orjson


class Document(NamedTuple):
    """`fields` is the parsed object, None when the body is none.

    `exact` says that nothing of the body was lost in them but white space and escapes; `doubt` says why somebody else
    may read another object in it.
    """

    fields: dict[str, Any] | None
    exact: bool = True
    doubt: str | None = None


NONE = Document(None)


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
            return Document(fields)
    except TypeError:
        return Document(fields, False, "it is nested deeper than 254 levels")
    look = _Look()
    json.loads(body, object_pairs_hook=look.pairs, parse_int=look.integer, parse_float=look.number)
    return Document(
        fields,
        look.exact and not look.repeated,
        "a name stands twice in one object; give it once" if look.repeated else None,
    )


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
