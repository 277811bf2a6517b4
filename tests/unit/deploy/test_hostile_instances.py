"""Whatever an instance answers to its health checks, a probe says what it was, in bounded time and memory."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator

import pytest

from tailrace.deploy import health
from tailrace.host import http

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ANSWERS = {
    "garbage": (b"\x00\xff" * 100, "BadStatusLine"),
    "nothing": (b"", "RemoteDisconnected"),
    "a status that is no number": (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n", "BadStatusLine"),
    "a status beyond HTTP": (b"HTTP/1.1 99999 OK\r\n\r\n", "BadStatusLine"),
    "another protocol": (b"SSH-2.0-x\r\n\r\n", "BadStatusLine"),
    "a cut body": (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nok", "IncompleteRead"),
    "a chunk that is no number": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "IncompleteRead"),
    "too many headers": (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n", "HTTPException"),
    "a long header": (b"HTTP/1.1 200 OK\r\na: " + b"x" * 100_000 + b"\r\n\r\n", "LineTooLong"),
    "an error with escapes": (b"HTTP/1.1 500 X\r\ncontent-length: 6\r\n\r\n\x1b[31mx", "500 ("),
}


@contextlib.contextmanager
def instance(first: bytes, then: bytes = b"") -> Iterator[str]:
    """An instance that answers each request with `first`, and then with `then` for as long as it is read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.recv(65_536)
                        connection.sendall(first)
                        while then:
                            connection.sendall(then)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_is_said(answer, said):
    """The probe is not ok, and nothing is raised."""
    with instance(answer) as url:
        found = health.probe(url, timeout_s=30)
    assert (found.ok, said in found.fact) == (False, True), found.fact
    assert len(found.fact) < 400


def test_a_good_answer_is_ok():
    """The control."""
    with instance(GOOD) as url:
        assert health.probe(url, timeout_s=30).ok


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"])
def test_an_endless_body_is_left(head):
    """As soon as it is too long, and not when its time is over: an instance sends gigabytes in a second."""
    piece = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with instance(head, piece) as url:
        found = health.probe(url, timeout_s=600)
    assert "longer than 67,108,864 bytes" in found.fact
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 * (http.MOST_BYTES >> 10)


@pytest.mark.parametrize("then", [b"HTTP/1.1 100 Continue\r\n\r\n", b""], ids=["interim answers", "silence"])
def test_an_answer_that_never_comes_ends_with_the_probes_time(then):
    """Interim answers give no more time."""
    with instance(b"HTTP/1.1 100 Continue\r\n\r\n", then) as url:
        found = health.probe(url, timeout_s=0.5)
    assert not found.ok
    assert "no answer" in found.fact
