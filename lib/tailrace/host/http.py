"""One HTTP request and its answer, without a connection pool: for probes, admin sockets and metrics pages."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from tailrace.host.deadline import set_deadline

FAILURES = (OSError, http.client.HTTPException)
"""The errors that `exchange` raises when it gets no whole answer."""


UNIX = "http+unix"
"""The scheme of what listens on a Unix socket; in its URL the socket's path stands in place of the host, quoted."""
PATH_BYTES = 100
MOST_BYTES: Final = 64 << 20
"""Of one answer, where the caller sets no limit: a peer may send for as long as it is given time."""


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
    limit_bytes: int = MOST_BYTES,
) -> Answer:
    """Return the answer of `url`, read to its end within `timeout_s`; raises one of `FAILURES`.

    An answer of more than `limit_bytes` is not read to its end: it raises TooLarge.
    """
    parts = urlsplit(url)
    started = time.perf_counter()
    if parts.scheme == UNIX:
        connection: http.client.HTTPConnection = _UnixConnection(unquote(parts.netloc), timeout_s)
    else:
        opener = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = opener(parts.hostname or "", parts.port, timeout=timeout_s)
    set_deadline(connection, started + timeout_s)
    try:
        target = parts.path or "/"
        connection.request(method, f"{target}?{parts.query}" if parts.query else target, body, dict(headers or {}))
        response = connection.getresponse()
        content = _read(response, limit_bytes)
        named = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, named, content, time.perf_counter() - started)
    finally:
        connection.close()


def unix_url(path: str) -> str:
    """Return the URL of what speaks HTTP on the Unix socket at `path`."""
    return f"{UNIX}://{quote(path, safe='')}"


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket, however long its path is."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self.path = Path(path)

    def connect(self) -> None:
        """Connect; by way of its folder, as the kernel takes no path of more than 107 bytes for a socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self.path)) <= PATH_BYTES:
            return self.sock.connect(str(self.path))
        folder = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)


def _read(response: http.client.HTTPResponse, limit_bytes: int) -> bytes:
    pieces, size = [], 0
    while piece := response.read1(65_536):
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            raise TooLarge(f"longer than {limit_bytes:,.0f} bytes")
    if response.length:
        raise http.client.IncompleteRead(b"".join(pieces), response.length)
    return b"".join(pieces)
