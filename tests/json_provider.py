"""A provider on loopback that answers in JSON: what a test of its own decides is in `do_POST`."""

from __future__ import annotations

import json
import threading
from http.server import ThreadingHTTPServer
from typing import Any

from tests.pages import QuietHandler


class JsonProvider(ThreadingHTTPServer):
    """Serves from its start on. A subclass sets what its handler reads before it calls `__init__`."""

    daemon_threads = True

    def __init__(self, handler: type[JsonHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class JsonHandler(QuietHandler):
    """Keeps connections open, and answers each GET with an empty list of models."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_json(200, {"object": "list", "data": []})

    def send_json(self, status: int, body: Any, *headers: tuple[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("content-type", "application/json"), ("content-length", str(len(data))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
