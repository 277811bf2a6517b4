"""A service as somebody else would write it: Python's own web server, a health path, and a way to an end.

It knows nothing of tailrace. On SIGTERM it stops accepting, finishes what it has, and leaves.
"""

import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Greeting(BaseHTTPRequestHandler):
    """Answers every path with the greeting, and the health paths with ok."""

    protocol_version = "HTTP/1.1"
    timeout = 75
    # One packet per answer: of two small ones, the second waits 40 ms for the first to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        healthy = self.path in ("/healthz", "/readyz")
        body = b"ok" if healthy else os.environ.get("GREETING", "hello").encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the edge counts."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    server = Server(("0.0.0.0", 8000), Greeting)  # noqa: S104 (inside a container)
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)
    server.server_close()
