"""What callers who are slow, silent or many can take from the others: nothing, at the edge and behind it."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from depth import scaled
from doors import fields
from tailrace.deploy.edge import counters, limits, listeners, overload
from tailrace.errors import EdgeRejected
from tailrace.host import waiting
from wire import Http2

IDLE, SLOW = scaled(5000, 300), scaled(1000, 100)
JSON = "Content-Type: application/json"
BEGUN = {
    "a length": f"POST /echo HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 10\r\n\r\nabc",
    "a long length": f"POST /echo HTTP/1.1\r\nHost: x\r\n{JSON}\r\nContent-Length: 5000000\r\n\r\n{'x' * 2000}",
    "chunks": f"POST /echo HTTP/1.1\r\nHost: x\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "gRPC by its own account": "POST /a.B/C HTTP/1.1\r\nHost: x\r\nContent-Type: application/grpc\r\n"
    "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "100-continue": "PUT /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    "half a head": "POST /echo HTTP/1.1\r\nHost: x\r\nX-A: ",
}
"""The beginnings of requests that never become whole."""


@pytest.fixture(autouse=True, scope="module")
def _files() -> Iterator[None]:
    """Each connection of these tests takes a file here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + SLOW + 500:
        pytest.skip(f"{IDLE + SLOW} connections need more files than this user may open ({hard})")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def held(d, texts):
    """Hold a connection for each of `texts`, on which no more is sent than that."""
    door = d.edge.layout.ingress
    with contextlib.ExitStack() as stack:
        connections = []
        for text in texts:
            connection = stack.enter_context(socket.create_connection((door.host, door.port), 60))
            connection.sendall(text.encode())
            connections.append(connection)
        yield connections


def at_the_door(d, name):
    """Return a counter of the front door as Envoy has it."""
    found = counters.stats(d.edge.layout.admin.url, rf"^http\.ingress\.{name}$", 10)
    return next((stat["value"] for stat in found if "value" in stat), 0)


def in_flight(d):
    return d.counters().colours["blue"].active


def test_idle_and_slow_callers_cost_the_others_nothing(deployment, release, load):
    """Thousands who say nothing, and a thousand who never finish: nobody else fails, and the instance knows nothing."""
    d = deployment()
    d.up(release(d))
    kinds = list(BEGUN.values())
    with held(d, [""] * IDLE), held(d, [kinds[i % len(kinds)] for i in range(SLOW)]):
        assert waiting.until(lambda: at_the_door(d, "downstream_cx_active") >= IDLE + SLOW, 60)
        with load(d.url, rate=100, streams=0) as traffic:
            time.sleep(scaled(10, 2))
            status = d.status()
        assert at_the_door(d, "downstream_cx_active") >= IDLE + SLOW
        assert in_flight(d) == 0
    assert (traffic.failed, status.serving) == (0, "blue")
    assert traffic.sent >= 100
    assert d.counters().failed == 0


@pytest.mark.parametrize("kind", ["a length", "a long length"])
def test_an_edge_that_does_not_buffer_lets_slow_callers_occupy_the_instance(deployment, release, kind):
    """Negative control: each of them has a connection to it."""
    d = deployment(edge={"buffered": False})
    d.up(release(d))
    with held(d, [BEGUN[kind]] * 20):
        assert waiting.until(lambda: in_flight(d) == 20, 60)


def test_a_request_that_does_not_become_whole_gets_a_408_and_no_long_answer_is_cut(deployment, release, monkeypatch):
    """Head or body, in a time of its own; the client's mistake is no failure of the edge."""
    monkeypatch.setattr(listeners, "HEAD_S", 1)
    d = deployment(edge={"request_s": 1.5})
    d.up(release(d))
    with held(d, ["GET /stream?s=4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]) as (patient,):
        with held(d, BEGUN.values()) as connections:
            answers = [b"".join(iter(lambda c=c: c.recv(65536), b"")) for c in connections]
        # Envoy answers gRPC by its own status.
        assert [b" 408 " in answer or b"grpc-status" in answer for answer in answers] == [True] * len(BEGUN), answers
        assert b"".join(iter(lambda: patient.recv(65536), b"")).rstrip().endswith(b"0")
    assert waiting.until(lambda: sum(d.counters().endings.values()) == 5, 60), d.counters().endings
    assert d.counters().failed == 0


def test_a_body_beyond_the_limit_gets_a_413_and_never_reaches_the_instance(deployment, release):
    """However it is framed. Negative control: the largest that is allowed is passed."""
    d = deployment(edge={"max_body_mb": 1})
    d.up(release(d))
    before = d.counters()
    most = 1 << 20
    for size, status in ((most, b"200"), (most + 1, b"413"), (3 * most, b"413")):
        head = f"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        with held(d, [head]) as (connection,):
            with contextlib.suppress(OSError):
                connection.sendall(b"x" * size)
            answer = connection.recv(65536)
        assert answer.split()[1] == status, (size, answer)
    assert waiting.until(lambda: d.counters().since(before).completed == 3, 60)
    assert (d.counters().since(before).failed, d.counters().since(before).colours["blue"].total) == (0, 1)


def test_a_full_front_door_is_told_and_the_operator_gets_in(deployment, release, monkeypatch):
    """Its probes and previews have doors without that limit. Negative control: one more is let in once one has left."""
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 30)
    d = deployment()
    built = release(d)
    d.up(built)
    with held(d, [""] * 30) as connections:
        assert waiting.until(lambda: at_the_door(d, "downstream_cx_active") == 30, 60)
        now = d.status()
        assert (now.serving, "is full: it closes each new connection" in now.answer) == ("", True)
        assert now.slot("blue").healthy
        with pytest.raises(EdgeRejected, match=r"is healthy, and nobody is answered: the front door at .* is full"):
            d.deploy(built, {})
        connections[0].close()
        assert waiting.until(lambda: d.status().serving, 60) == "blue"


@pytest.mark.parametrize(
    ("files", "connections"), [(1_000_000, 10_000), (20_000, 10_000), (4_096, 2_053), (1_024, 346), (256, 16)]
)
def test_the_connections_are_bounded_below_the_files(files, connections):
    """Of them, and of those that they cost to both colours, where nobody runs an edge with a few hundred files."""
    assert limits.max_connections(files) == connections


def sent(stream, size):
    """Send a body of HTTP/2 that does not end, as far as the edge lets it; return whether the stream is still open."""
    while size and not stream.ended:
        window = min(stream.h2.local_flow_control_window(1), 16_384, size)
        if window:
            stream.send(b"x" * window)
            size -= window
        else:
            read(stream)
    return not stream.ended


def read(stream):
    try:
        data = stream.socket.recv(65_536)
    except OSError:
        data = b""
    stream.ended = stream.ended or ("" if data else "closed")
    for event in stream.h2.receive_data(data):
        stream._handle(event)
    stream.flush()


@pytest.mark.deep
def test_bodies_of_http2_that_fill_the_memory_are_cut_and_others_go_on(deployment, release, load, monkeypatch):
    """The largest first. Of HTTP/1.1 Envoy does not know whose the memory is: then it refuses what is new."""
    monkeypatch.setattr(overload, "HEAP_BYTES", 100 << 20)
    d = deployment()
    d.up(release(d))
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            stream = stack.enter_context(Http2(d.edge.layout.ingress, fields("/echo", "POST"), end=False))
            with contextlib.suppress(OSError):
                sent(stream, 4 << 20)
        assert waiting.until(lambda: any("OM" in ending.flags for ending in d.counters().endings), 60)
        assert waiting.until(lambda: pressure(d) < overload.ACTIONS["stop_accepting_requests"] * 100, 60)
        with load(d.url, rate=50, streams=0) as traffic:
            time.sleep(1)
    assert traffic.failed == 0
    assert "cut for want of memory" in str(d.counters().refused)


def pressure(d):
    (found,) = counters.stats(
        d.edge.layout.admin.url, r"^overload\.envoy\.resource_monitors\.fixed_heap\.pressure$", 10
    )
    return found["value"]
