"""The cache key: everything that can change the answer, in an unambiguous form.

A key of the prompt alone gives the answer to another question; one without the credential leaks between tenants. So
every header is in it, except those that are known not to change an answer (`request.key_headers`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import orjson

from tailrace.client.request.key_headers import LeftOut, neutral
from tailrace.client.wire import Headers

ORDER_FREE: Final = frozenset({"messages", "metadata", "logit_bias", "stream_options", "reasoning", "tool_choice"})
"""Arguments within which the order of names does not matter. In all others it may: a model fills in the fields of a
schema (`response_format`, `tools`, or a provider's own name for it) in the order in which they are listed."""

_VERSION: Final = b"tailrace-key-2"


def cache_key(asker: bytes, body: bytes, document: Any) -> str:
    """Return the key of a request as 64 hex digits, from the caller (see `asker`) and the `body`.

    `document` is the parsed JSON body; None when the body is not JSON or is ambiguous: then its bytes count. The order
    of the top-level arguments does not matter, everything else does.
    """
    return hashlib.sha256(asker + (b"raw" + body if document is None else b"json" + canonical(document))).hexdigest()


def asker(
    method: str, url: str, headers: Headers, tenant: str = "", namespace: str = "", left_out: LeftOut = neutral
) -> bytes:  # fmt: skip
    """Return the part of the key that identifies the caller and the endpoint: everything but the body.

    Each part is framed by its length, so that two different lists of parts never give the same bytes.
    """
    lowered = ((name.lower(), value) for name, value in headers)
    kept = sorted(((n, v) for n, v in lowered if not left_out(n, v)), key=_name)  # stable: repeated ones stay in order
    headers_part = framed((_VERSION, _bytes(namespace), *(_bytes(part) for pair in kept for part in pair)))
    return framed((_bytes(tenant), method.upper().encode(), url.encode(), headers_part))


def canonical(document: Any) -> bytes:
    """Return the canonical form of a JSON document; numbers keep their type, so that 1 and 1.0 differ."""
    if not isinstance(document, dict):
        return orjson.dumps(document)
    ordered = {name: orjson.Fragment(orjson.dumps(value)) for name, value in document.items()
               if type(value) in (dict, list) and name not in ORDER_FREE}  # fmt: skip
    return orjson.dumps({**document, **ordered} if ordered else document, option=orjson.OPT_SORT_KEYS)


def _name(header: tuple[str, str]) -> str:
    return header[0]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def framed(parts: Iterable[bytes]) -> bytes:
    """Return `parts` as one, each after its length."""
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])
