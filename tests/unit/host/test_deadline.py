"""A deadline holds for a whole answer, however slowly a peer sends it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tailrace.host.http import exchange

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


@contextmanager
def serving(pieces: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """A server that answers one request with these pieces."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            try:
                for piece in pieces():
                    connection.sendall(piece)
            except OSError:
                pass  # the client has left

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join(30)
        assert not thread.is_alive(), "the client has not left"


def slowly(data: bytes, wait_s: float) -> Iterator[bytes]:
    for byte in data:
        time.sleep(wait_s)
        yield bytes([byte])


def endlessly(data: bytes) -> Iterator[bytes]:
    while True:
        time.sleep(0.01)
        yield data


@pytest.mark.parametrize(
    "pieces",
    [
        lambda: endlessly(b"HTTP/1.1 100 Continue\r\n\r\n"),
        lambda: slowly(HEAD[:-2] + b"x: " + b"x" * 60_000, 0.01),
        lambda: slowly(HEAD.replace(b": 2", b": 60000") + b"1" * 60_000, 0.01),
    ],
    ids=["interim answers", "head", "body"],
)
def test_a_peer_that_never_ends_is_left(pieces):
    """Each piece comes within the timeout, and the whole does not."""
    with serving(pieces) as url, pytest.raises(OSError, match="timed out"):
        exchange(url, timeout_s=0.3)


def test_a_slow_answer_within_its_time_is_read():
    """The negative control: the same pieces, with an end."""
    with serving(lambda: slowly(HEAD + b"ok", 0.001)) as url:
        assert exchange(url, timeout_s=30.0).body == b"ok"
