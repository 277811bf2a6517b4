"""A metrics page of a real server is read; one that is missing, slow, huge or something else is said, never raised."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from tailrace.host import ports, scrape
from tailrace.host.scrape import MetricsPage

GOOD = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 4.0\n"


class Pages(http.server.BaseHTTPRequestHandler):
    """Misbehaves by path."""

    def do_GET(self):
        if self.path == "/slow":
            self.server.hang.wait(60)
        body = {"/huge": b"a 1\n" * 2_000_000, "/html": b"<html></html>", "/key": b"llamacpp:requests_deferred 1\n"}
        denied = self.path == "/key" and self.headers["authorization"] != "Bearer k"
        self.send_response(404 if self.path == "/missing" else 401 if denied else 200)
        self.end_headers()
        self.wfile.write(body.get(self.path, GOOD))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    server.hang = threading.Event()
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.hang.set()
    server.shutdown()
    server.server_close()


def test_a_page_is_read(url):
    """What the server says of itself comes back with the time of the reading."""
    reading = scrape.read(MetricsPage(url + "/metrics"))
    assert (reading.gauges, reading.why) == ({"running": 4.0}, "")
    assert reading.t_ns > 0


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/missing", "answered 404"),
        ("/huge", "longer than 4,000,000 bytes"),
        ("/html", "not a Prometheus page"),
        ("/slow", "timed out"),
        ("/key", "answered 401"),
    ],
)
def test_a_page_that_says_nothing_is_a_reason(url, path, why):
    """Each kind of bad page is named, with its address."""
    reading = scrape.read(MetricsPage(url + path))
    assert why in reading.why
    assert path in reading.why
    assert not reading.gauges


def test_a_server_that_is_not_there_is_a_reason():
    """A refused connection is no error of the caller's."""
    assert "refused" in scrape.read(MetricsPage(f"http://127.0.0.1:{ports.free('127.0.0.1')}/metrics")).why


def test_a_key_is_sent(url):
    """The headers of the page go with the request."""
    assert scrape.read(MetricsPage(url + "/key", headers={"authorization": "Bearer k"})).gauges == {"waiting": 1.0}
