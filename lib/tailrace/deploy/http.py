"""One HTTP request and its answer, without a connection pool: for probes and the edge's admin port."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FAILURES = (OSError, http.client.HTTPException)
"""The errors that `exchange` raises when it gets no whole answer."""


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
) -> Answer:
    """Return the answer of `url`, read to its end within `timeout_s`; raises one of `FAILURES`."""
    parts = urlsplit(url)
    started = time.perf_counter()
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        target = parts.path or "/"
        connection.request(method, f"{target}?{parts.query}" if parts.query else target, body, dict(headers or {}))
        response = connection.getresponse()
        content = _read(connection, response, started + timeout_s)
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, content, time.perf_counter() - started)
    finally:
        connection.close()


def _read(connection: http.client.HTTPConnection, response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Read to the end, or to the deadline: a socket's own timeout starts again with each piece of an endless answer."""
    pieces = []
    while piece := response.read1(65_536):
        pieces.append(piece)
        remaining_s = deadline - time.perf_counter()
        if remaining_s <= 0:
            raise TimeoutError("timed out while the answer was still coming")
        if connection.sock is not None:
            connection.sock.settimeout(remaining_s)
    if response.length:
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    return b"".join(pieces)
