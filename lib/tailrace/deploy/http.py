"""One HTTP request and its answer, without a connection pool: what probes and the edge's admin port need."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FAILURES = (OSError, http.client.HTTPException)
"""What `exchange` raises when no whole answer came."""


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
    """Read to the end: a socket's timeout is per read, and an endless trickle must not pass the deadline."""
    pieces = []
    while piece := response.read1(65_536):
        pieces.append(piece)
        left = deadline - time.perf_counter()
        if left <= 0:
            raise TimeoutError("timed out while the answer was still coming")
        if connection.sock is not None:
            connection.sock.settimeout(left)
    if response.length:
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    return b"".join(pieces)
