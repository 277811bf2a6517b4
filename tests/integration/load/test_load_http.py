"""What the lean HTTP sender makes of servers that behave, and of servers that do not."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tailrace.errors import LoadError
from tailrace.load import RequestOutcome, Weighted, Workload
from tailrace.load.outcome import of_exception
from tailrace.load.sender import HttpSender
from tailrace.load.workload import plain


def ask(url: str, workload: Workload | None = None, count: int = 1, **options: object) -> list[RequestOutcome]:
    """The outcomes of `count` requests, one after the other."""
    order = workload or Workload()

    async def go() -> list[RequestOutcome]:
        sender = HttpSender(url, order, options)
        try:
            return [await sender.send(n, order.request(n)) for n in range(count)]
        finally:
            await sender.close()

    return asyncio.run(go())


def test_reads_what_the_answer_says(target):
    """Status, tokens, colour, attempts, backoff and cost come from the answer."""
    (outcome,) = ask(target.url)
    assert (outcome.error_type, outcome.status, outcome.colour, outcome.release) == ("", 200, "blue", "r1")
    assert (outcome.generation, outcome.attempts, outcome.backoff_us, outcome.cost_microusd) == (4, 2, 1500, 12)
    assert (outcome.in_tok, outcome.out_tok, outcome.cached_tok, outcome.chunks) == (7, 3, 2, 0)
    assert 0 < outcome.byte_ns <= outcome.last_ns
    assert outcome.first_ns == outcome.token_ns == 0, "a plain answer has no times of tokens"


def test_reads_streams(target):
    """A stream's tokens are counted and timed, its usage is read, and its first token is apart from its last."""
    (outcome,) = ask(target.url, Workload(stream_share=1))
    assert (outcome.error_type, outcome.chunks, outcome.in_tok, outcome.out_tok) == ("", 2, 7, 3)
    assert outcome.token_ns - outcome.first_ns > 20_000_000, "the target waits ten times as long"
    assert list(outcome.gaps_us) == [(outcome.token_ns - outcome.first_ns) // 1_000]


def test_a_hit_costs_no_attempt(target):
    """`x-tailrace-cache: hit` is kept, with the attempts that the service counted."""
    (outcome,) = ask(target.origin + "/hit")
    assert (outcome.cache, outcome.attempts) == ("hit", 0)


@pytest.mark.parametrize(
    ("path", "stream", "expected", "status"),
    [
        ("/status/429", False, "http_429", 429),
        ("/status/503", True, "http_503", 503),
        ("/garbage", False, "bad_body", 200),
        ("/errorbody", False, "error_body", 200),
        ("/noise", False, "bad_body", 0),
        ("/reset", False, "reset", 0),
        ("/half", False, "reset", 200),
        ("/cut", True, "cut_stream", 200),
        ("/torn", True, "cut_stream", 200),
    ],
)
def test_failures_have_a_class(target, path, stream, expected, status):
    """Each way to fail has its own class, and the status as far as one came."""
    (outcome,) = ask(target.origin + path, Workload(stream_share=float(stream)))
    assert (outcome.error_type, outcome.status) == (expected, status)


def test_goes_on_after_a_reset(target):
    """A broken connection fails one request; the next has a new one."""
    assert [outcome.error_type for outcome in ask(target.origin + "/reset", count=3)] == ["reset"] * 3
    assert [outcome.error_type for outcome in ask(target.url, count=3)] == [""] * 3


def test_no_listener_is_an_oserror():
    """Where nobody listens, the sender raises what the dispatcher calls "connect"."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            ask(f"http://127.0.0.1:{held.getsockname()[1]}/v1")


def test_names_are_resolved(target):
    """A host name with several addresses finds the one that answers."""
    assert ask(f"http://localhost:{target.port}/v1")[0].status == 200


def test_plain_requests_have_no_opinion_on_the_body(target):
    """A foreign service may answer text, with a length or until the end of the connection."""
    assert ask(target.origin, plain("/text"))[0].error_type == ""
    assert [outcome.error_type for outcome in ask(target.origin, plain("/eof"), count=2)] == ["", ""]
    assert ask(target.origin, plain("/garbage", "POST", "{}"))[0].error_type == ""


def test_few_connections_are_shared_in_turn(target):
    """With one connection, simultaneous requests wait for each other and all are answered."""

    async def go() -> list[RequestOutcome]:
        workload = Workload()
        sender = HttpSender(target.url, workload, {"connections": 1})
        outcomes = await asyncio.gather(*(sender.send(n, workload.request(n)) for n in range(50)))
        await sender.close()
        return outcomes

    assert {outcome.error_type for outcome in asyncio.run(go())} == {""}


def test_who_leaves_the_queue_does_not_take_the_turn_along(target):
    """Cancelled requests, waiting or in flight, leave the connections to the others."""

    async def go() -> RequestOutcome:
        workload = Workload()
        sender = HttpSender(target.origin + "/hang", workload, {"connections": 1})
        waiting = [asyncio.ensure_future(sender.send(n, workload.request(n))) for n in range(3)]
        await asyncio.sleep(0.05)
        for one in (waiting[1], waiting[0]):
            one.cancel()
        await asyncio.sleep(0.05)
        assert sender._pool._free_slots == 0, "the third has the only connection"
        waiting[2].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert sender._pool._free_slots == 1
        return RequestOutcome()

    asyncio.run(go())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v1", "127.0.0.1:80", "http://", "http://u:p@127.0.0.1/"])
def test_refuses_what_is_no_url(url):
    """An URL that cannot be an API's is refused before anything is sent."""
    with pytest.raises(LoadError, match="expected http"):
        HttpSender(url, Workload(), {})


def test_refuses_unknown_options(target):
    """A mistyped option is an error, not a default."""
    with pytest.raises(LoadError, match="conections"):
        HttpSender(target.url, Workload(), {"conections": 3})


def test_the_key_comes_from_the_environment(target, monkeypatch):
    """A key is named, never given; a name without a value is refused."""
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(LoadError, match="SOME_KEY is not set"):
        HttpSender(target.url, Workload(), {"api_key_env": "SOME_KEY"})


def heard(workload: Workload, **options: object) -> str:
    """The head of the first request, as a server hears it."""

    async def go() -> str:
        heads: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        sender = HttpSender(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", workload, options)
        await sender.send(0, workload.request(0))
        server.close()
        return heads[0]

    return asyncio.run(go())


def test_what_a_server_hears(monkeypatch):
    """Method, path, host and type, headers of yours, and the key from the environment."""
    monkeypatch.setenv("SOME_KEY", "a" * 8)
    head = heard(Workload(), headers={"X-Mine": "1"}, api_key_env="SOME_KEY").splitlines()
    assert head[0] == "POST /v1/chat/completions HTTP/1.1"
    assert {"content-type: application/json", "x-mine: 1", f"authorization: Bearer {'a' * 8}"} <= set(head)
    assert sum(line.startswith("host: 127.0.0.1:") for line in head) == 1


def test_a_tenant_has_a_key_of_its_own(monkeypatch):
    """Each tenant is named in a header, and may have its own key; without one it uses the common key."""
    monkeypatch.setenv("ACME_KEY", "b" * 8)
    monkeypatch.setenv("SOME_KEY", "a" * 8)
    acme = Workload(tenants=(Weighted("acme"),))
    own = heard(acme, api_key_env="SOME_KEY", tenant_key_envs={"acme": "ACME_KEY"})
    assert "x-tailrace-tenant: acme" in own
    assert f"Bearer {'b' * 8}" in own
    assert f"Bearer {'a' * 8}" in heard(acme, api_key_env="SOME_KEY")


def test_headers_cannot_be_smuggled(target):
    """A line break in a header of yours is refused."""
    with pytest.raises(LoadError, match="line break"):
        HttpSender(target.url, Workload(), {"headers": {"x": "1\r\nx-other: 2"}})


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server behind TLS with a certificate of its own making: its URL, and the certificate."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), Answering)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}/v1", certificate
    server.shutdown()
    thread.join()
    server.server_close()


class Answering(BaseHTTPRequestHandler):
    """One answer to everything, HTTP/1.0: the connection ends the body."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"choices": [{"message": {"content": "yes"}}]}')

    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()


def test_speaks_tls_to_whom_it_trusts(secure):
    """With the certificate given as CA the answer comes; without verification it comes, too."""
    url, certificate = secure
    assert ask(url, verify=str(certificate))[0].error_type == ""
    assert ask(url, verify=False)[0].status == 200


def test_an_untrusted_certificate_is_a_tls_failure(secure):
    """A certificate that nobody vouches for fails the handshake, under its own class."""
    with pytest.raises(ssl.SSLError) as caught:
        ask(secure[0])
    assert of_exception(caught.value) == "tls"


def test_a_ca_file_that_is_not_there_is_refused(target):
    """A wrong path is an error, never a silent default."""
    with pytest.raises(LoadError, match=r"none\.pem"):
        HttpSender("https://127.0.0.1:1/v1", Workload(), {"verify": "none.pem"})
