"""A small LLM service that is not ours: it wants a key, and passes chat completions on to a provider.

`python gateway.py HOST PORT`; the key is GATEWAY_KEY, the provider's URL UPSTREAM_URL. With --closed, /health wants the
key, too. It tries twice, and keeps no answer. It repeats a wrong key in its answer, as careless servers do.
"""

import http.client
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

KEY = os.environ["GATEWAY_KEY"]
UPSTREAM = urlsplit(os.environ["UPSTREAM_URL"])
OPEN = () if "--closed" in sys.argv else ("/health",)


class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path in OPEN or self.allowed():
            self.answer(200 if self.path in ("/health", "/ready") else 404, b"{}")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self.allowed():
            return
        for last in (False, True):
            upstream = http.client.HTTPConnection(UPSTREAM.hostname, UPSTREAM.port, timeout=20)
            try:
                upstream.request("POST", self.path, body, {"content-type": "application/json"})
                response = upstream.getresponse()
                if last or response.status < 500:
                    self.pass_on(response)
                    break
            except OSError:
                if last:
                    self.answer(502, b'{"error": {"message": "no provider"}}')
            finally:
                upstream.close()

    def pass_on(self, response: http.client.HTTPResponse) -> None:
        kind = response.getheader("content-type", "application/json")
        if "event-stream" not in kind:
            self.answer(response.status, response.read(), kind)
            return
        self.send_response(response.status)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while piece := response.read1(65_536):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def allowed(self) -> bool:
        sent = self.headers.get("authorization", "")
        if sent != f"Bearer {KEY}":
            self.answer(401, b'{"error": {"message": "not a key: %s"}}' % sent.encode())
        return sent == f"Bearer {KEY}"

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


Server((sys.argv[1], int(sys.argv[2])), Gateway).serve_forever()
