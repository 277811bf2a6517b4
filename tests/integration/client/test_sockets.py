"""The socket sender for threads: framing, compression, TLS, and connections that are kept or gone."""

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib

import pytest

from tailrace import OpenAI, Policy
from tailrace.client.senders.sockets import SocketSender
from tailrace.client.wire import Request, Unanswered

BODY = b'{"text": "' + b"x" * 5000 + b'"}'
JSON = "content-type: application/json\r\n"


@pytest.fixture
def server():
    """Return a function that starts a server of the raw bytes of `replies`, one after the other."""
    servers = []

    def serve(*replies, tls=None, close=(), delay_s=0.0):
        listening = socket.create_server(("127.0.0.1", 0))
        left, connections, lock = list(replies), [], threading.Lock()

        def answer(connection):
            with connection, connection.makefile("rb") as said:
                while line := said.readline():
                    length = 0
                    while line.strip():
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split(b":")[1])
                        line = said.readline()
                    said.read(length)
                    time.sleep(delay_s)
                    with lock:
                        number, reply = len(replies) - len(left), left.pop(0)
                    connection.sendall(reply)
                    if number in close:
                        return

        def accept():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                try:
                    connection = tls.wrap_socket(connection, server_side=True) if tls else connection
                except ssl.SSLError:
                    connection.close()
                    continue
                connections.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        servers.append((listening, connections))
        return f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}/v1/x?q=1", connections

    yield serve
    for listening, connections in servers:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for connection in connections:
            connection.close()


@pytest.fixture
def send():
    """A sender without TLS of its own."""
    made = SocketSender()
    yield made
    made.close()


def http(body=b"", head="", status="200 OK"):
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def chunked(body, size=1000):
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def asked(url, timeout_s=60.0, method="POST"):
    return Request(method, url, (("authorization", "Bearer t"),), b"{}" if method == "POST" else b"", timeout_s)


CHUNKED, GZIP = "transfer-encoding: chunked\r\n", "content-encoding: gzip\r\n"
FRAMED = {
    "by length": http(BODY, f"{JSON}content-length: {len(BODY)}\r\n"),
    "in chunks": http(chunked(BODY), JSON + CHUNKED),
    "after a hint": b"HTTP/1.1 103 Early Hints\r\n\r\n" + http(BODY, f"{JSON}content-length: {len(BODY)}\r\n"),
    "packed": http(chunked(gzip.compress(BODY)), JSON + CHUNKED + GZIP),
    "deflated": http(chunked(zlib.compress(BODY)), JSON + CHUNKED + "content-encoding: deflate\r\n"),
}


@pytest.mark.parametrize("reply", FRAMED.values(), ids=FRAMED.keys())
def test_an_answer_is_read_however_it_is_framed(server, send, reply):
    """Length, chunks, interim responses and compression give the same body, three times over one connection."""
    url, connections = server(reply, reply, reply)
    for _ in range(3):
        answer = send(asked(url))
        assert (answer.status, answer.body) == (200, BODY)
        assert ("content-type", "application/json") in answer.headers
        assert not {"content-length", "content-encoding", "transfer-encoding"} & {name for name, _ in answer.headers}
    assert len(connections) == 1


CUT = {
    "by length": http(BODY[:100], f"{JSON}content-length: {len(BODY)}\r\n"),
    "in chunks": http(chunked(BODY)[:-30], JSON + CHUNKED),
    "packed": http(chunked(gzip.compress(BODY)[:-20]), JSON + CHUNKED + GZIP),
    "in its head": b"HTTP/1.1 200 OK\r\ncontent-ty",
    "before it began": b"",
    "no HTTP": b"220 smtp.example ESMTP\r\n",
}


@pytest.mark.parametrize("reply", CUT.values(), ids=CUT.keys())
def test_an_answer_that_is_cut_is_no_answer(server, send, reply):
    """An answer that is cut, or is not HTTP, is a failed connection and never half an answer."""
    url, _ = server(reply, close=(0,))
    with pytest.raises(Unanswered) as caught:
        send(asked(url))
    assert caught.value.kind == "connection"


def test_a_connection_that_was_closed_is_not_used_again(server, send):
    """A server that closes a connection after its answer, announced or not, does not fail the next call."""
    told = http(BODY, f"{JSON}content-length: {len(BODY)}\r\nconnection: close\r\n")
    url, connections = server(FRAMED["by length"], told, FRAMED["by length"], close=(0,))
    for _ in range(3):
        assert send(asked(url)).body == BODY
        time.sleep(0.1)
    assert len(connections) == 3


def test_a_stream_is_given_chunk_by_chunk_and_may_be_left(server, send):
    """A stream passes as it comes; a complete one keeps its connection, one that is left closes it."""
    stream = http(chunked(BODY, 100), "content-type: text/event-stream\r\n" + CHUNKED)
    url, connections = server(stream, stream, stream)
    assert b"".join(send(asked(url)).body) == BODY
    left = send(asked(url)).body
    next(left)
    left.close()
    assert len(connections) == 1
    assert b"".join(send(asked(url)).body) == BODY
    assert len(connections) == 2


def test_time_is_held_for_head_body_and_connection(server):
    """Waiting for an answer, or for a free connection, ends with a timeout in time."""
    url, _ = server(FRAMED["by length"], FRAMED["by length"], delay_s=2.0)
    send = SocketSender(connections=1)
    with pytest.raises(Unanswered) as caught:
        send(asked(url, 0.2))
    assert caught.value.kind == "timeout"
    busy = threading.Thread(target=send, args=(asked(url),))
    busy.start()
    time.sleep(0.1)
    with pytest.raises(Unanswered) as caught:
        send(asked(url, 0.2))
    assert caught.value.kind == "timeout"
    busy.join()
    send.close()


def test_nobody_there_is_a_failed_connection(send):
    """A refused connection and an unknown host name are connection errors, and free their slot."""
    for url in ("http://127.0.0.1:9/v1", "http://nowhere.invalid/v1"):
        with pytest.raises(Unanswered) as caught:
            send(asked(url, 5.0, "GET"))
        assert caught.value.kind == "connection"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that only this test trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(path), "-out", f"{path}.crt",
               "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_tls_is_checked(server, certificate):
    """The certificate is checked: with a trusted one the call succeeds, with another it is a failed connection."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(f"{certificate}.crt", certificate)
    url, _ = server(FRAMED["in chunks"], FRAMED["in chunks"], tls=ours)
    trusting = SocketSender(tls=lambda: ssl.create_default_context(cafile=f"{certificate}.crt"))
    assert trusting(asked(url)).body == trusting(asked(url)).body == BODY
    trusting.close()
    with pytest.raises(Unanswered) as caught:
        SocketSender()(asked(url))
    assert "SSL" in str(caught.value)


def test_a_header_cannot_smuggle_another(provider, key):
    """A line end in a header's value is refused before anything is sent."""
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(retry=None)) as client:
        assert isinstance(client._client._transport._send, SocketSender)
        with pytest.raises(Exception, match="ConnectionError"):
            client.models.list(extra_headers={"x-a": "b\r\nx-smuggled: c"})
    assert provider.seen == []


def test_many_threads_share_it(simulator, key):
    """Sixteen threads on one client: every answer is the right one, and no connection leaks."""
    found = []
    with OpenAI(api_key=key, base_url=simulator.url, policy=Policy(cache=None)) as client:

        def ask(number):
            for turn in range(10):
                text = {"role": "user", "content": f"{number} {turn}"}
                answer = client.chat.completions.create(model="gpt-4o-mini", temperature=0, messages=[text])
                found.append((number, turn, answer.id))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        send = client._client._transport._send
        assert sum(map(len, send._idle.values())) <= 16
    assert len({id for *_, id in found}) == len(found) == 160
    assert send._idle == {}
