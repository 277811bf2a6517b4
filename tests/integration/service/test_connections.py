"""A caller's connection takes no more than its limits, and keeps nobody waiting for longer than its times."""

import asyncio
import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, repeat
from pathlib import Path
from typing import Any

import pytest
from tests.integration.service.conftest import Service

from tailrace.service import server
from tailrace.service.acceptor import Acceptor
from tailrace.service.connections import HEAD_BYTES, Connections, Times

MOST_SENT = 4 << 20
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
CHUNKED = POST + b"transfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n"
PIECE = b"b" * 8192
ENDLESS: dict[str, tuple[bytes, Callable[[], Iterator[bytes]], bytes]] = {
    "a header's value": (b"GET /v1/x HTTP/1.1\r\nhost: x\r\nx-a: ", lambda: repeat(PIECE), b"431"),
    "a header's name": (b"GET /v1/x HTTP/1.1\r\nhost: x\r\n", lambda: repeat(PIECE), b"431"),
    "an address": (b"GET /v1/", lambda: repeat(PIECE), b"431"),
    "headers": (b"GET /v1/x HTTP/1.1\r\n", lambda: (b"x-%d: a\r\n" % n * 100 for n in count()), b"431"),
    "a head for the health": (b"GET /healthz HTTP/1.1\r\nx-a: ", lambda: repeat(PIECE), b"431"),
    "a head in one piece": (b"GET /v1/x HTTP/1.1\r\nx-a: " + PIECE * 32 + b"\r\n\r\n", lambda: repeat(PIECE), b"4"),
    "a trailer": (CHUNKED + b"0\r\nx-t: ", lambda: repeat(PIECE), b""),
    "trailers": (CHUNKED + b"0\r\n", lambda: repeat(b"x-t: a\r\n" * 1000), b""),
    "an extension of a chunk": (CHUNKED + b"5;", lambda: repeat(PIECE), b""),
    "a chunk's size": (CHUNKED, lambda: repeat(b"0" * 8192), b""),
    "requests in a row": (b"", lambda: repeat(b"GET /v1/x HTTP/1.1\r\nhost: x\r\n\r\n" * 200), b""),
}


def memory_bytes(service: Service) -> int:
    status = Path(f"/proc/{service.process.pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def closed(caller: socket.socket, timeout_s: float = 30.0) -> bool:
    """Return whether the other side closes the connection within `timeout_s`."""
    caller.settimeout(timeout_s)
    try:
        while caller.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def answered(caller: socket.socket) -> bool:
    """Return whether `slow_app` answers."""
    got = b""
    while not got.endswith(b"ok") and (more := caller.recv(1000)):
        got += more
    return got.endswith(b"ok")


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_refused(service: Service, name: str) -> None:
    """The connection is closed after a few hundred KiB at most, with a 431 for a head; others are served meanwhile."""
    first, more, status = ENDLESS[name]
    host, port = service.http.base_url.host, service.http.base_url.port
    before, sent = memory_bytes(service), 0
    with socket.create_connection((host, port or 0), 30) as caller:
        pieces, answer = more(), b""
        try:
            caller.sendall(first)
            while sent < MOST_SENT:
                sent += len(piece := next(pieces))
                caller.sendall(piece)
            caller.settimeout(0.2)
            answer = caller.recv(100)
        except ConnectionError:
            caller.settimeout(0.2)
        assert service.http.get("/healthz").status_code == 200
        assert closed(caller)
    assert memory_bytes(service) - before < 16 << 20
    assert answer == b"" or status in answer


GOOD = {
    "a large head": b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * (HEAD_BYTES - 1000) + b"\r\n\r\n",
    "many headers": b"GET /healthz HTTP/1.1\r\n" + b"".join(b"x-%d: a\r\n" % n for n in range(1000)) + b"\r\n",
    "chunks of a byte": CHUNKED + b"1;x=y\r\na\r\n" * 20_000 + b"0\r\nx-t: a\r\n\r\n",
    "a large body": POST + b"content-length: 6000000\r\n\r\n" + b"a" * 6_000_000,
    "requests in a row": b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 50,
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_within_the_limits_is_served(service: Service, name: str) -> None:
    """Large and odd requests of the same kinds get an answer, and the connection serves the next one."""
    host, port = service.http.base_url.host, service.http.base_url.port
    with socket.create_connection((host, port or 0), 30) as caller, caller.makefile("rb") as answers:
        caller.sendall(GOOD[name] + b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        whole = answers.read()
    assert whole.count(b"HTTP/1.1 ") == GOOD[name].count(b" HTTP/1.1\r\n") + 1
    assert b" 431 " not in whole
    assert whole.count(b'"status":"live"') >= 1


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def slow_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once, whatever of the body has come; `/held` waits until its caller leaves."""
    if scope["path"] == "/held":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(
    most: int = 100, spare: int = 16, head_bytes: int = HEAD_BYTES, **times: float
) -> Iterator[tuple[Connections, Callable[[bytes], socket.socket]]]:
    """Serve `slow_app`; yield what holds the connections, and what opens one and sends the beginning of a request."""
    connections = Connections(most, spare, head_bytes, Times(**{"sweep_s": 0.05, **times}))
    http = server.make(slow_app, [], connections)
    listener = server.listen("127.0.0.1", 0, 60.0)
    address = listener.getsockname()
    thread = threading.Thread(target=lambda: asyncio.run(http.serve([listener])))
    thread.start()
    with ExitStack() as stack:

        def opened(text: bytes) -> socket.socket:
            caller = stack.enter_context(socket.create_connection(address, 30))
            caller.sendall(text)
            return caller

        try:
            yield connections, opened
        finally:
            http.should_exit = http.force_exit = True
            thread.join(30)


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HELD = b"GET /held HTTP/1.1\r\nhost: x\r\n\r\n"
OPENINGS: dict[str, tuple[bytes, dict[str, float]]] = {
    "nothing": (b"", {"head_s": 0.2}),
    "half a head": (b"GET / HTTP/1.1\r\nhost:", {"head_s": 0.2}),
    "half a second head": (GET + b"GET", {"head_s": 0.2}),
    "an answered body": (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\na", {"rest_s": 0.2}),
}


@pytest.mark.parametrize("name", OPENINGS)
def test_a_caller_who_sends_no_more_is_closed(name: str) -> None:
    """What has begun must come whole in its time; with the usual times the same caller may go on."""
    opening, times = OPENINGS[name]
    with serving(**times) as (_, opened):
        assert closed(opened(opening))
    with serving() as (_, opened):
        assert not closed(opened(opening), 0.5)


def test_a_head_a_byte_at_a_time_is_late_too() -> None:
    """The time of a head runs from its first byte, not from its latest one."""
    with serving(head_s=0.3) as (_, opened):
        caller, sent = opened(b"GET / HTTP/1.1\r\nx-a: "), 0
        caller.settimeout(0.05)
        try:
            while sent < 500:
                caller.send(b"a")
                sent += 1
                with contextlib.suppress(TimeoutError):
                    if not caller.recv(1):
                        break
        except ConnectionError:
            pass
        assert sent < 500


def test_beyond_the_limit_those_are_closed_that_wait_for_their_caller() -> None:
    """Idle connections make room for new ones; a request in flight is never ended; with all in flight, new ones are."""
    with serving(most=8, spare=1, young_s=0.0) as (connections, opened):
        held = [opened(HELD) for _ in range(4)]
        idle = [opened(GET) for _ in range(4)]
        assert all(map(answered, idle))
        for _ in range(20):
            assert answered(opened(GET))
            assert len(connections.connections) <= 8
        assert all(map(closed, idle))
        held += [opened(HELD) for _ in range(4)]
        wait_until(lambda: sum(not one.idle for one in list(connections.connections)) == 8)
        assert closed(opened(GET))
        assert not any(closed(caller, 0.01) for caller in held)


def whole(caller: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    caller.settimeout(30)
    return b"".join(iter(lambda: caller.recv(65_536), b""))


def test_beyond_the_limit_callers_at_once_are_told_to_come_again() -> None:
    """Those that have waited for a moment only are not closed for new ones, which get a 503; health is answered."""
    with serving(most=4, spare=4, young_s=60.0) as (connections, opened):
        held = [opened(HELD) for _ in range(2)]
        idle = [opened(GET) for _ in range(2)]
        assert all(map(answered, idle))
        wait_until(lambda: sum(not one.idle for one in list(connections.connections)) == 2)
        late = opened(b"GET / HTTP/1.1\r\nhost:")  # it may send the rest of its request later
        healthy = opened(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert answered(healthy)
        refusal = whole(opened(GET))
        assert refusal.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in refusal
        assert b'"overloaded"' in refusal
        late.sendall(b" x\r\ncontent-length: 200000\r\n\r\n" + b"a" * 200_000)
        assert whole(late).startswith(b"HTTP/1.1 503 ")
        assert not any(closed(caller, 0.01) for caller in [*held, *idle])
        for caller in idle:
            caller.settimeout(30)
            caller.sendall(GET)
        assert all(map(answered, idle))


def test_callers_wait_in_the_kernel_where_there_is_no_room() -> None:
    """Beyond what may be open none is accepted until another is closed, and then it gets its answer."""
    with serving(most=2, spare=2, young_s=60.0) as (connections, opened):
        held = [opened(HELD) for _ in range(2)]
        wait_until(lambda: sum(not one.idle for one in list(connections.connections)) == 2)
        silent = [opened(b"") for _ in range(2)]
        wait_until(lambda: len(connections.connections) == 4)
        waiting = opened(GET)
        assert not closed(waiting, 0.2)
        silent[0].close()
        assert whole(waiting).startswith(b"HTTP/1.1 503 ")
        assert not any(closed(caller, 0.01) for caller in held)


def test_without_that_wait_a_caller_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """To accept whoever comes, as the listeners of event loops do, closes those for whom there is no room."""
    monkeypatch.setattr(Acceptor, "_room", 1)
    with serving(most=2, spare=0, young_s=60.0) as (connections, opened):
        silent = [opened(b"") for _ in range(2)]
        wait_until(lambda: len(connections.connections) == 2)
        assert closed(opened(b""))
        assert not any(closed(caller, 0.01) for caller in silent)


def test_with_room_the_same_callers_are_served() -> None:
    """The limit is what refuses them."""
    with serving(most=5, spare=4, young_s=60.0) as (_, opened):
        assert all(answered(opened(GET)) for _ in range(5))


def test_a_refused_caller_gets_the_refusal_and_no_reset() -> None:
    """What he still sends is read or waits for a moment, so that it does not cut off what he is told; then it ends."""
    with serving(linger_s=0.3) as (connections, opened):
        caller = opened(b"GET / HTTP/1.1\r\nx-a: " + PIECE * 20)
        wait_until(lambda: bool(connections.refused))
        caller.sendall(PIECE * 20)
        assert caller.recv(100).startswith(b"HTTP/1.1 431 ")
        endless = opened(b"GET / HTTP/1.1\r\nx-a: ")
        with pytest.raises(ConnectionError):
            deque(map(endless.sendall, repeat(PIECE)), maxlen=0)
        wait_until(lambda: not connections.refused)


def test_without_the_limit_the_same_head_is_taken() -> None:
    """The limit on heads is what refuses them: uvicorn has none."""
    with serving(head_bytes=1 << 40) as (_, opened):
        caller = opened(b"GET / HTTP/1.1\r\nx-a: ")
        for _ in range(64):
            caller.sendall(PIECE)
        assert not closed(caller, 0.2)
