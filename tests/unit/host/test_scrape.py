"""A metrics page of a real server is read; one that is missing, slow, huge or something else is said, never raised."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pages import QuietHandler, serving
from tailrace.host import ports, scrape
from tailrace.host.scrape import MetricsPage

GOOD = b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 4.0\n"


class Pages(QuietHandler):
    """Misbehaves by path."""

    def do_GET(self):
        if self.path == "/slow":
            self.server.hang.wait(60)
        body = {"/huge": b"a 1\n" * 2_000_000, "/html": b"<html></html>", "/key": b"llamacpp:requests_deferred 1\n"}
        denied = self.path == "/key" and self.headers["authorization"] != "Bearer k"
        self.send_response(404 if self.path == "/missing" else 401 if denied else 200)
        self.end_headers()
        self.wfile.write(body.get(self.path, GOOD))


@pytest.fixture
def url() -> Iterator[str]:
    with serving(Pages) as address:
        yield address


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
