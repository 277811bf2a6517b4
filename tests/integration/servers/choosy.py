"""A server that is particular about its health check: `--path`, `--status`, `--hosts`; every other path answers 200."""

import argparse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

arguments = argparse.ArgumentParser()
arguments.add_argument("--port", type=int, required=True)
arguments.add_argument("--path", default="/healthz", help="the only path that tells its health")
arguments.add_argument("--status", type=int, default=200, help="with which it does")
arguments.add_argument("--hosts", nargs="*", help="the only hosts that it answers for")
options = arguments.parse_args()


class Choosy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        health = "health" in self.path
        status = 200 if not health else options.status if self.path == options.path else 404
        if options.hosts and self.headers["host"].partition(":")[0] not in options.hosts:
            status = 400
        body = b"" if status == 204 else f"answered {status}".encode()
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", options.port), Choosy).serve_forever()
