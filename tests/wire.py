"""What really goes over the wire: conversations in HTTP/1 and HTTP/2 that no client corrects, for tests of proxies."""

import json
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from h2 import config, connection, events

from tailrace.deploy.edge import Address

Headers = Sequence[tuple[str, str]]
TIMEOUT_S = 20.0


class Reply(NamedTuple):
    """One answer, as it came."""

    version: str
    status: int
    headers: Headers
    body: bytes
    trailers: Headers = ()

    def header(self, name: str) -> str:
        """Return the values of a header, joined."""
        return ", ".join(value for key, value in self.headers if key.lower() == name)

    @property
    def got(self) -> dict[str, Any]:
        """What the service says that it got."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def seen(self, name: str) -> str:
        """Return the values of a header that the service got, joined."""
        return ", ".join(value for key, value in self.got["headers"] if key.lower() == name)


class Http1:
    """One connection of HTTP/1 that sends the bytes it is told."""

    def __init__(self, address: Address, *pieces: bytes) -> None:
        self.socket = socket.create_connection((address.reached, address.port), TIMEOUT_S)
        self.file = self.socket.makefile("rb")
        for piece in pieces:
            self.send(piece)

    def __enter__(self) -> "Http1":
        return self

    def __exit__(self, *raised: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        return self.file.read(size)

    def closed(self) -> bool:
        """Return whether the other side closes the connection, without another byte."""
        try:
            return self.file.read(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def _headers(self) -> Headers:
        headers = []
        while line := self.file.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        return headers

    def reply(self, bodiless: bool = False) -> Reply:
        """Read one answer to its end; `bodiless` is one to HEAD. Raises EOFError when there is none."""
        first = self.file.readline().decode("latin-1").split(None, 2)
        if len(first) < 2:
            raise EOFError
        status, headers = int(first[1]), self._headers()
        named = {name.lower(): value for name, value in headers}
        trailers: Headers = ()
        if bodiless or status < 200 or status in (204, 304):
            body = b""
        elif named.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.file.readline(), 16):
                body += self.file.read(size)
                self.file.readline()
            trailers = self._headers()
        elif "content-length" in named:
            body = self.file.read(int(named["content-length"]))
        else:
            body = self.file.read()
        return Reply(first[0], status, headers, body, trailers)


class Http2:
    """One connection of HTTP/2 without TLS, by prior knowledge, with one stream."""

    def __init__(self, address: Address, headers: Headers, end: bool = True) -> None:
        self.socket = socket.create_connection((address.reached, address.port), TIMEOUT_S)
        self.h2 = connection.H2Connection(config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.version, self.status, self.body = "HTTP/2", 0, b""
        self.headers: Headers = ()
        self.trailers: Headers = ()
        self.ended = ""
        self.h2.send_headers(1, headers, end_stream=end)
        self.flush()

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, *raised: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def send(self, data: bytes, end: bool = False) -> None:
        self.h2.send_data(1, data, end_stream=end)
        self.flush()

    def end(self, trailers: Headers) -> None:
        self.h2.send_headers(1, trailers, end_stream=True)
        self.flush()

    def wait(self, body: bytes = b"\0") -> None:
        """Read until the stream has ended, or has brought `body`; raises EOFError."""
        while not self.ended and not self.body.endswith(body):
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            for event in self.h2.receive_data(data):
                self._handle(event)
            self.flush()

    def _handle(self, event: events.Event) -> None:
        if isinstance(event, events.ResponseReceived):
            self.headers = event.headers
            self.status = int(dict(event.headers)[":status"])
        elif isinstance(event, events.DataReceived):
            self.body += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
        elif isinstance(event, events.TrailersReceived):
            self.trailers = event.headers
        elif isinstance(event, events.StreamEnded):
            self.ended = "ended"
        elif isinstance(event, events.StreamReset):
            self.ended = "reset"

    def reply(self) -> Reply:
        """Read the answer to its end. Raises EOFError when the connection ends before it."""
        self.wait()
        return Reply(self.version, self.status, self.headers, self.body, self.trailers)
