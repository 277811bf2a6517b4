"""The requests of the conformance table: what each sends, and what came of it, in a few words.

Each row is sent twice, to the service itself and to the edge. `edge` is empty where the edge gives the same.
"""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from h2.exceptions import ProtocolError

from tailrace.deploy.edge import Address
from wire import Http1, Http2, Reply

IDLE_S = 3.0
"""After so long a silence the edge of these tests ends a stream."""
HTTP1, H2C = "http1", "h2c"
NONE = "no answer"


Ask = Callable[[Address], str]


@dataclass(frozen=True)
class Row:
    """A request in words, how it is made, and what the service and the edge have to give."""

    request: str
    ask: Ask
    service: str
    edge: str = ""
    needs_options: bool = False
    """Whether Envoy gives something else by itself: the negative control."""
    protocol: str = HTTP1
    streamed: str = ""
    """What an edge gives that does not buffer requests, where that is something else."""

    @property
    def expected(self) -> str:
        return self.edge or self.service

    @property
    def expected_streamed(self) -> str:
        return self.streamed or self.expected

    def answer(self, address: Address) -> str:
        """Return what came of it, in a few words."""
        try:
            return self.ask(address)
        except (EOFError, ConnectionError):
            return NONE
        except (OSError, ValueError, KeyError, ProtocolError) as error:
            return f"{type(error).__name__}: {error}"[:80]


def head(path: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1", host: str = "a.example:81") -> bytes:
    lines = [f"{method} {path} {version}", *([f"Host: {host}"] if host else []), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def fields(path: str, method: str = "GET", **more: str) -> list[tuple[str, str]]:
    """Return the headers of a request of HTTP/2."""
    named = {":method": method, ":scheme": "http", ":authority": "a.example:81", ":path": path}
    return [*named.items(), *((name.replace("_", "-"), value) for name, value in more.items())]


def once(*pieces: bytes, say: Callable[..., str], bodiless: bool = False, every_s: float = 0) -> Ask:
    """Return how to send these pieces on a connection, and `say` what was answered."""

    def ask(address: Address) -> str:
        with Http1(address, pieces[0]) as connection:
            for piece in pieces[1:]:
                time.sleep(every_s)
                connection.send(piece)
            reply = connection.reply(bodiless)
            return say(reply) if reply.status < 400 else status(reply)

    return ask


def status(reply: Reply) -> str:
    return str(reply.status)


def length(reply: Reply) -> str:
    return f"{reply.status}, {reply.got['length']} bytes, sum {reply.got['sum']}"


def seen(*names: str) -> Callable[..., str]:
    """Return how to say which values of these headers the service got."""
    return lambda reply: ", ".join(f"{name}: {reply.seen(name) or 'none'}" for name in names)


def in_turn(*requests: bytes) -> Ask:
    """Ask one after the other on one connection."""

    def ask(address: Address) -> str:
        with Http1(address) as connection:
            found = []
            for request in requests:
                connection.send(request)
                found.append(status(connection.reply(request.startswith(b"HEAD"))))
            return " ".join(found)

    return ask


def pipelined(address: Address) -> str:
    with Http1(address, head("/echo?1") + head("/echo?2") + head("/echo?3")) as connection:
        return " ".join(connection.reply().got["target"] for _ in range(3))


def continued(address: Address) -> str:
    with Http1(address, head("/echo", "Expect: 100-continue", "Content-Length: 4", method="POST")) as connection:
        first = connection.reply()
        connection.send(b"body")
        return f"{first.status}, then {length(connection.reply())}"


def whole(path: str, version: str, *headers: str) -> Ask:
    """Return whether the connection is closed after the answer."""

    def ask(address: Address) -> str:
        with Http1(address, head(path, *headers, version=version)) as connection:
            reply = connection.reply()
            framing = "chunks" if reply.header("transfer-encoding") else "no chunks"
            end = "DONE" if b"[DONE]" in reply.body else reply.body[:13].decode()
            return f"{reply.status}, {framing}, {end}, {'closed' if connection.closed() else 'open'}"

    return ask


def kept_open(address: Address) -> str:
    with Http1(address) as connection:
        statuses = []
        for _ in range(2):
            connection.send(head("/echo", "Connection: keep-alive", version="HTTP/1.0"))
            try:
                statuses.append(status(connection.reply()))
            except (EOFError, OSError):
                statuses.append("closed")
        return " ".join(statuses)


def upgraded(word: str, silent: bool = False) -> Ask:
    handshake = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")

    def ask(address: Address) -> str:
        request = head("/upgrade", "Connection: Upgrade", f"Upgrade: {word}", *handshake)
        with Http1(address, request) as connection:
            reply = connection.reply()
            if reply.status != 101:
                return status(reply)
            if silent:
                connection.socket.settimeout(IDLE_S * 2.5)
                return f"101, {'closed' if connection.closed() else 'open'}"
            echoes = []
            for message in (b"\x81\x85....", b"\0" * 70_000):
                connection.send(message)
                echoes.append(str(len(connection.read(len(message)))))
            connection.send(b"bye")
            return f"101, echoes {' '.join(echoes)}, then {connection.read(3).decode()} and the end"

    return ask


def upgraded_h2(address: Address) -> str:
    tunnel = [*fields("/upgrade", "CONNECT"), (":protocol", "websocket")]
    with Http2(address, sorted(tunnel, key=lambda field: not field[0].startswith(":")), end=False) as stream:
        stream.send(b"hello")
        stream.wait(b"hello")
        stream.send(b"bye", end=True)
        return f"{stream.reply().status}, echoes {stream.body.decode()}"


def http2(path: str, *pieces: bytes, say: Callable[..., str], trailers: bool = False, **more: str) -> Ask:
    def ask(address: Address) -> str:
        method = "POST" if pieces else "GET"
        with Http2(address, fields(path, method, **more), end=not pieces) as stream:
            for piece in pieces:
                stream.send(piece, end=piece is pieces[-1] and not trailers)
            if trailers:
                stream.end([("x-after", "yes")])
            return say(stream.reply())

    return ask


def bidirectional(address: Address) -> str:
    """Each message is answered before the next is sent."""
    headers = fields("/test.Echo/Call", "POST", content_type="application/grpc", te="trailers")
    with Http2(address, headers, end=False) as call:
        for message in (b"\0\0\0\0\1a", b"\0\0\0\0\1b", b"\0\0\0\0\1c"):
            call.send(message)
            call.wait(message)
        call.send(b"", end=True)
        return grpc(call.reply())


def grpc(reply: Reply) -> str:
    ends = dict(reply.trailers)
    return f"{reply.status}, {len(reply.body)} bytes, grpc-status {ends.get('grpc-status')}, {ends.get('grpc-message')}"


def silent(address: Address) -> str:
    with Http1(address, head(f"/silent?s={IDLE_S * 2.5}")) as connection:
        try:
            reply = connection.reply()
            return f"{reply.status}, {reply.body.count(b'data: ')} events"
        except (EOFError, OSError, ValueError):
            return "begun, then cut"


def early(address: Address) -> str:
    with Http1(address, head("/early", "Content-Length: 1000000", method="POST") + b"x" * 1000) as connection:
        return status(connection.reply())


def half_closed(address: Address) -> str:
    """The answer takes a while: one that is there at once overtakes the end."""
    with Http1(address, head("/silent?s=0.5")) as connection:
        connection.socket.shutdown(socket.SHUT_WR)
        try:
            return status(connection.reply())
        except EOFError:
            return "closed without an answer"


def trailer(reply: Reply) -> str:
    return f"{reply.status}, trailers: {dict(reply.trailers).get('x-sum', 'none')}"


def after(reply: Reply) -> str:
    return f"{reply.status}, the service got x-after: {dict(reply.got['trailers']).get('x-after', 'none')}"


def chunks(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n" + trailers + b"\r\n"


CHUNKED = "Transfer-Encoding: chunked"
PROXIED = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "Forwarded: for=6.6.6.6")
LARGE = b"0123456789" * 800_000
ROWS = [
    Row("GET", once(head("/echo?x=1"), say=lambda r: f"{r.status} {r.got['target']}"), "200 /echo?x=1"),
    Row(
        "a path with `//`, `..`, `%2F`, `;`",
        once(head("/echo//a/../b%2Fc;d?q=%20+"), say=lambda r: r.got["target"]),
        "/echo//a/../b%2Fc;d?q=%20+",
    ),
    Row("Host", once(head("/echo"), say=seen("host")), "host: a.example:81"),
    Row("X-Request-Id", once(head("/echo", "X-Request-Id: mine"), say=seen("x-request-id")), "x-request-id: mine"),
    Row("a header twice", once(head("/echo", "X-A: 1", "X-A: 2"), say=seen("x-a")), "x-a: 1, 2"),
    Row("Authorization", once(head("/echo", "Authorization: Bearer x"), say=seen("authorization")),
        "authorization: Bearer x"),
    Row("two Set-Cookie in the answer", once(head("/twice"), say=lambda r: r.header("set-cookie")), "a=1, b=2"),
    Row("HEAD, then GET", in_turn(head("/echo", method="HEAD"), head("/echo")), "200 200"),
    Row("HEAD keeps Content-Length",
        once(head("/echo", method="HEAD"), say=lambda r: r.header("content-length"), bodiless=True), "1234"),
    Row("204, then GET", in_turn(head("/empty?status=204"), head("/echo")), "204 200"),
    Row("304, then GET", in_turn(head("/empty?status=304"), head("/echo")), "304 200"),
    Row("OPTIONS", once(head("/echo", method="OPTIONS"), say=lambda r: r.got["method"]), "OPTIONS"),
    Row("a method of its own, `FROB`", once(head("/echo", method="FROB"), say=status), "200", needs_options=True),
    Row("POST", once(head("/echo", "Content-Length: 4", method="POST") + b"body", say=length), "200, 4 bytes, sum 430"),
    Row("POST in chunks", once(head("/echo", CHUNKED, method="POST") + chunks(b"bo", b"dy"), say=length),
        "200, 4 bytes, sum 430"),
    Row(
        "POST in chunks, with a trailer",
        once(head("/echo", CHUNKED, "Trailer: x-after", method="POST") + chunks(b"body", trailers=b"x-after: yes\r\n"),
             say=after),
        "200, the service got x-after: yes", "200, the service got x-after: none",
        streamed="200, the service got x-after: yes",
    ),
    Row("an answer with a trailer", once(head("/trailers", "TE: trailers"), say=trailer), "200, trailers: 42",
        needs_options=True),
    Row("POST, `Expect: 100-continue`", continued, "100, then 200, 4 bytes, sum 430"),
    Row("POST of 8 MB", once(head("/echo", f"Content-Length: {len(LARGE)}", method="POST"), LARGE, say=length),
        f"200, {len(LARGE)} bytes, sum {sum(LARGE)}"),
    Row(
        f"a body that takes longer than the idle time ({IDLE_S:g} s)",
        once(head("/echo", "Content-Length: 8", method="POST"), *[b"x"] * 8, say=length, every_s=IDLE_S / 6),
        "200, 8 bytes, sum 960",
    ),
    Row("headers that come in pieces",
        once(b"GET /echo HT", b"TP/1.1\r\nHo", b"st: a\r\n\r\n", say=status, every_s=0.2), "200"),
    Row("413 before the body was sent, from a client that then waits", early, "413", "408", streamed="413"),
    Row("a compressed answer",
        once(head("/gzip", "Accept-Encoding: gzip"),
             say=lambda r: f"{r.header('content-encoding')}, {len(gzip.decompress(r.body))} bytes"),
        "gzip, 10000 bytes"),
    Row("server-sent events", whole("/stream?n=4", "HTTP/1.1", "Connection: close"), "200, chunks, DONE, closed"),
    Row("events for longer than the idle time",
        once(head(f"/stream?n={IDLE_S * 1.3 / 0.05:.0f}"), say=lambda r: f"{r.status}, {r.body[-8:-2].decode()}"),
        "200, [DONE]"),
    Row("events with a silence beyond the idle time", silent, "200, 2 events", "begun, then cut"),
    Row("three requests at once (pipelining)", pipelined, "/echo?1 /echo?2 /echo?3"),
    Row("the absolute form, `GET http://b.example/`",
        once(head("http://b.example/echo"), say=lambda r: f"{r.got['target']}, {r.seen('host')}"),
        "http://b.example/echo, a.example:81", "/echo, b.example"),
    Row("`Connection: close`", whole("/empty?status=204", "HTTP/1.1", "Connection: close"),
        "204, no chunks, , closed"),
    Row("an answer that ends with its connection", once(head("/bye"), say=lambda r: r.body.decode()), "until the end"),
    Row("a client that closes its side after the request", half_closed, "200", "closed without an answer"),
    Row("HTTP/1.0", whole("/bye", "HTTP/1.0"), "200, no chunks, until the end, closed", needs_options=True),
    Row("HTTP/1.0 without Host", once(head("/echo", version="HTTP/1.0", host=""), say=seen("host")), "host: none",
        "host: localhost", needs_options=True),
    Row("HTTP/1.0, a stream", whole("/stream?n=4", "HTTP/1.0"), "200, chunks, DONE, closed",
        "200, no chunks, DONE, closed", needs_options=True),
    Row("HTTP/1.0, `Connection: keep-alive`", kept_open, "200 closed", "200 200", needs_options=True),
    Row("WebSocket", upgraded("websocket"), "101, echoes 6 70000, then bye and the end", needs_options=True),
    Row("WebSocket, `Upgrade: WebSocket`", upgraded("WebSocket"), "101, echoes 6 70000, then bye and the end",
        needs_options=True),
    Row("WebSocket that is silent beyond the idle time", upgraded("websocket", silent=True), "101, open", "101, closed",
        needs_options=True),
    Row("WebSocket on HTTP/2 (RFC 8441)", upgraded_h2, NONE, "200, echoes hellobye", needs_options=True),
    Row("`Upgrade: TLS/1.2`", once(head("/echo", "Connection: Upgrade", "Upgrade: TLS/1.2"), say=seen("upgrade")),
        "upgrade: TLS/1.2", "upgrade: none", needs_options=True),
    Row("`Upgrade: h2c`",
        once(head("/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
             say=seen("upgrade")), "upgrade: h2c", "upgrade: none"),
    Row("POST with an unknown upgrade",
        once(head("/echo", "Connection: Upgrade", "Upgrade: frob/2", "Content-Length: 4", method="POST") + b"body",
             say=length), "200, 4 bytes, sum 430", needs_options=True),
    Row("HTTP/2 by prior knowledge", http2("/echo", say=lambda r: f"{r.status}, {r.got['version']}, {r.seen('host')}"),
        NONE, "200, HTTP/1.1, a.example:81"),
    Row("HTTP/2, a body and a trailer", http2("/echo", b"bo", b"dy", say=after, trailers=True), NONE,
        "200, the service got x-after: none", streamed="200, the service got x-after: yes"),
    Row("HTTP/2, an answer with a trailer", http2("/trailers", say=trailer), NONE, "200, trailers: 42"),
    Row("what a stranger says of itself in `X-Forwarded-*`",
        once(head("/echo", *PROXIED), say=seen("x-forwarded-proto", "x-forwarded-host", "forwarded")),
        "x-forwarded-proto: https, x-forwarded-host: evil, forwarded: for=6.6.6.6",
        "x-forwarded-proto: http, x-forwarded-host: none, forwarded: none", needs_options=True),
    Row("what a stranger says to Envoy in `X-Envoy-*`",
        once(head("/silent?s=0.5", "X-Envoy-Upstream-Rq-Timeout-Ms: 50"), say=lambda r: f"{r.status}, whole"),
        "200, whole"),
    Row("40 kB of headers", once(head("/echo", f"X-Big: {'x' * 40_000}"), say=status), "200"),
    Row("70 kB of headers", once(head("/echo", f"X-Big: {'x' * 70_000}"), say=status), "200", "431"),
    Row("300 headers", once(head("/echo", *(f"X-{n}: x" for n in range(300))), say=status), "200", needs_options=True),
    Row("100 kB of headers in the answer",
        once(head("/headers?kb=100"), say=lambda r: f"{r.status}, {len(r.header('x-99'))}"), "200, 1000"),
    Row("no Host", once(head("/echo", host=""), say=status), "200", "400"),
    Row("`Content-Length` and chunks",
        once(head("/echo", CHUNKED, "Content-Length: 4", method="POST") + chunks(b"body"), say=status), "200", "400"),
    Row("two lengths",
        once(head("/echo", "Content-Length: 4", "Content-Length: 5", method="POST") + b"body!", say=status),
        "200", "400"),
    Row("CONNECT", once(head("b.example:443", method="CONNECT", host="b.example:443"), say=status), "200", "404"),
    Row("`OPTIONS *`", once(head("*", method="OPTIONS"), say=status), "200", "404"),
    Row("gRPC, one message", http2("/test.Echo/Call", b"\0\0\0\0\1a", say=grpc, content_type="application/grpc",
        te="trailers"), "200, 6 bytes, grpc-status 0, done", protocol=H2C),
    Row("gRPC, messages to and fro", bidirectional, "200, 18 bytes, grpc-status 0, done", protocol=H2C),
    Row("HTTP/2, trailers both ways", http2("/echo", b"body", say=lambda r: f"{after(r)}, {trailer(r)}", trailers=True),
        "200, the service got x-after: yes, 200, trailers: 430", protocol=H2C),
    Row("HTTP/1.1", once(head("/echo", "TE: trailers"), say=lambda r: f"{r.seen(':authority')}, {trailer(r)}"),
        NONE, "a.example:81, 200, trailers: 0", protocol=H2C),
    Row("POST of 8 MB over HTTP/1.1",
        once(head("/echo", f"Content-Length: {len(LARGE)}", method="POST"), LARGE, say=lambda r: str(r.got["length"])),
        NONE, str(len(LARGE)), protocol=H2C),
    Row("WebSocket over HTTP/1.1", upgraded("websocket"), NONE, "101, echoes 6 70000, then bye and the end",
        protocol=H2C),
    Row("WebSocket on HTTP/2 (RFC 8441)", upgraded_h2, "200, echoes hellobye", protocol=H2C),
]  # fmt: skip

TABLE = "## The table\n"


def table(results: list[dict[str, Any]]) -> str:
    """Return the table for the operator; each result names an engine, a protocol, and the rows that were as stated."""
    lines = [TABLE]
    for protocol, title in ((HTTP1, "A service of HTTP/1.1"), (H2C, "A service of HTTP/2 without TLS")):
        lines += [f"**{title}**", "", "| request | asked directly | through the edge | held on |", "|---|---|---|---|"]
        for row in [row for row in ROWS if row.protocol == protocol]:
            held = [r["engine"] for r in results if r["protocol"] == protocol and row.request in r["passed"]]
            edge = row.edge or "the same"
            lines.append(f"| {row.request} | {row.service} | {edge} | {', '.join(sorted(held)[::-1])} |")
        lines.append("")
    return "\n".join(lines)
