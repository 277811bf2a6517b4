"""The text fields of a form (`multipart/form-data`, RFC 7578), which the policy reads; files are passed over."""

from __future__ import annotations

from email.message import Message
from typing import Any, Final

from tailrace.client.wire import Fields

MOST_FIELDS: Final = 256
MOST_BYTES: Final = 64 << 10
"""Of one field. What is longer, or one of too many, is not read: it may be a file without a name."""
_HEAD_BYTES: Final = 4 << 10


def from_parts(parts: Any) -> Fields:
    """Return the text fields among the `fields` of an httpx2 form: values, and files without a file name."""
    found = [(part.name, _short(part)) for part in parts[:MOST_FIELDS]]
    return tuple([(name, value) for name, value in found if value is not None])


def from_body(body: bytes, content_type: str) -> Fields | None:
    """Return the text fields of a form that is in memory; None when it is not a form."""
    boundary = _parameter(content_type, "content-type", "boundary")
    if not boundary or content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        return None
    fields: list[tuple[str, str]] = []
    mark = b"--" + boundary.encode("latin-1", "replace")
    at = body.find(mark)
    while at >= 0 and len(fields) < MOST_FIELDS:
        start = at + len(mark) + 2
        at = body.find(b"\r\n" + mark, start - 2)
        head, blank, _ = body[start : start + _HEAD_BYTES].partition(b"\r\n\r\n")
        data = start + len(head) + len(blank)
        name = _field_name(head) if blank else None
        if name is not None and data <= at <= data + MOST_BYTES:
            fields.append((name, body[data:at].decode("utf-8", "replace")))
        at += 2 if at >= 0 else 0
    return tuple(fields)


def _short(part: Any) -> str | None:
    """Return the value of a part; None for a file."""
    value = getattr(part, "value", None)
    if value is None and not getattr(part, "filename", None):
        value = getattr(part, "file", None)
    if not isinstance(value, str | bytes) or len(value) > MOST_BYTES:
        return None
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _field_name(head: bytes) -> str | None:
    """Return the name of the text field with these part headers; None for a file."""
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            if _parameter(value.strip(), "content-disposition", "filename"):
                return None
            return _parameter(value.strip(), "content-disposition", "name")
    return None


def _parameter(value: str, header: str, name: str) -> str:
    """Return a parameter of a header value; "" when it is not there."""
    message = Message()
    message[header] = value
    found = message.get_param(name, "", header)
    return found[2] if isinstance(found, tuple) else found or ""
