"""Media types, compared as RFC 9110 §8.3 says: without their parameters, blanks and case."""

from __future__ import annotations


def is_event_stream(content_type: str | bytes) -> bool:
    """Return whether a body of `content_type` is a stream of server-sent events."""
    return essence(content_type) == "text/event-stream"


def is_json(content_type: str | bytes) -> bool:
    """Return whether a body of `content_type` is JSON, also by a suffix such as `application/problem+json`."""
    kind = essence(content_type)
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def essence(content_type: str | bytes) -> str:
    """Return type and subtype in lower case; "" when there is none."""
    text = content_type if isinstance(content_type, str) else content_type.decode("latin-1")
    return text.partition(";")[0].strip(" \t").lower()
