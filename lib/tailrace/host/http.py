"""One HTTP request and its answer, without a connection pool: for probes, admin ports and metrics pages."""

from __future__ import annotations

import http.client
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FAILURES = (OSError, http.client.HTTPException)
"""The errors that `exchange` raises when it gets no whole answer."""


class TooLarge(OSError):
    """The answer is longer than the caller reads."""


@dataclass(frozen=True)
class Answer:
    """A whole answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    duration_s: float


def exchange(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 1.0,
    limit_bytes: float = math.inf,
) -> Answer:
    """Return the answer of `url`, read to its end within `timeout_s`; raises one of `FAILURES`.

    An answer of more than `limit_bytes` is not read to its end: it raises TooLarge.
    """
    parts = urlsplit(url)
    started = time.perf_counter()
    opener = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = opener(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        target = parts.path or "/"
        connection.request(method, f"{target}?{parts.query}" if parts.query else target, body, dict(headers or {}))
        response = connection.getresponse()
        content = _read(connection, response, started + timeout_s, limit_bytes)
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, content, time.perf_counter() - started)
    finally:
        connection.close()


def _read(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float, limit_bytes: float
) -> bytes:
    """Read to the end, or to the deadline: a socket's own timeout starts again with each piece of an endless answer."""
    pieces, size = [], 0
    while piece := response.read1(65_536):
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            raise TooLarge(f"longer than {limit_bytes:,.0f} bytes")
        remaining_s = deadline - time.perf_counter()
        if remaining_s <= 0:
            raise TimeoutError("timed out while the answer was still coming")
        if connection.sock is not None:
            connection.sock.settimeout(remaining_s)
    if response.length:
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    return b"".join(pieces)
