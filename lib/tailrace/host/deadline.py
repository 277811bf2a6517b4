"""A deadline for a whole answer: the timeout of a socket begins again with each byte that comes.

A peer that sends its head byte by byte, or one interim answer after the other, keeps `http.client` for as long as it
likes.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from typing import Any


def set_deadline(connection: http.client.HTTPConnection, at: float) -> None:
    """Have what `connection` reads raise TimeoutError from `at` (`time.perf_counter()`) on."""

    def answer(sock: socket.socket, *args: Any, **named: Any) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(sock, *args, **named)
        response.fp = io.BufferedReader(_Timed(sock, response.fp.detach(), at))
        return response

    connection.response_class = answer  # type: ignore[assignment]


class _Timed(io.RawIOBase):
    """Reads from a socket until the deadline."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase, at: float) -> None:
        self._sock, self._raw, self._at = sock, raw, at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining_s = self._at - time.perf_counter()
        if remaining_s <= 0:
            raise TimeoutError("timed out while the answer was still coming")
        if self._sock.fileno() >= 0:  # a connection that is not kept is closed before its last answer is read
            self._sock.settimeout(remaining_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
