"""A probe sends its headers, with secrets filled in at that moment; what it reports holds none of them."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tailrace import profile
from tailrace.deploy import health

HOSTS = []
HEADERS = {"authorization": "Bearer ${A_KEY}", "x-plain": "yes"}


class Echo(BaseHTTPRequestHandler):
    """Accepts one key, and repeats another one in its answer, far behind the beginning of a long text."""

    def do_GET(self):
        HOSTS.append(self.headers["host"])
        sent = self.headers.get("authorization", "")
        allowed = sent == "Bearer pearl" and self.headers["x-plain"] == "yes"
        body = b"fine" if allowed else b"key:" + b" " * 90 + sent.encode() + b"." * 200
        self.send_response(200 if allowed else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def url():
    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_headers_are_filled_in_when_a_probe_is_sent(url, monkeypatch):
    """The probe itself holds the variable's name; the value of today is sent today."""
    request = profile.Probe(headers=HEADERS)
    monkeypatch.setenv("A_KEY", "pearl")
    assert health.perform(url, request, 10).ok
    assert health.probe(url, "/", 10, headers=HEADERS).ok
    monkeypatch.setenv("A_KEY", "another")
    assert health.perform(url, request, 10).status == 401
    assert "pearl" not in repr(request)


def test_a_key_that_the_server_repeats_is_shown_by_its_name(url, monkeypatch):
    """Also where the excerpt ends in the middle of it."""
    for value in ("oyster", "oyster" * 20):
        monkeypatch.setenv("A_KEY", value)
        observation = health.perform(url, profile.Probe(headers=HEADERS), 10)
        assert observation.fact.startswith("401 (key: Bearer ${A_KEY}....")
        assert "oyster" not in repr(observation)


def test_a_key_that_is_missing_is_no_answer_and_no_exception(url, monkeypatch):
    """The fact says what to set."""
    monkeypatch.delenv("A_KEY", raising=False)
    observation = health.probe(url, "/", headers=HEADERS)
    assert (observation.ok, observation.status) == (False, 0)
    assert "not sent: headers: environment variable A_KEY is not set" in observation.fact


def test_a_watch_sends_headers_with_its_paths(url, monkeypatch):
    """And leaves whole requests as they are."""
    monkeypatch.setenv("A_KEY", "pearl")
    targets = {"path": (url, "/"), "request": (url, profile.Probe())}
    with health.watch(targets, 0.01, 10, HEADERS) as watch:
        while len({row.kind for row in watch.rows}) < 2:
            pass
    assert {(row.kind, row.ok) for row in watch.rows} == {("path", True), ("request", False)}


@pytest.mark.parametrize(
    ("checks", "ok"),
    [
        ({}, False),
        ({"status": [401]}, True),
        ({"status": "400-403"}, True),
        ({"status": [200, "402-499"]}, False),
    ],
)
def test_which_answers_are_healthy_is_what_the_release_says(url, checks, ok):
    """The server here answers 401; by default, only 200 to 299 are."""
    target = health_of(url, **checks)
    assert target.check("/", 10).ok is ok
    assert target.check("/", 10).status == 401


def test_a_check_has_the_host_of_the_release(url):
    """Without one it is the address that is called; the headers of the service go along."""
    assert named(url, health_of(url)) == url.removeprefix("http://")
    assert named(url, health_of(url, host="api.example.com")) == "api.example.com"


def named(url, target):
    """Return the Host of a check."""
    HOSTS.clear()
    target.check("/", 10)
    return HOSTS[-1]


def health_of(url, **checks):
    return health.Target(url, profile.Acceptance(health=profile.Health(**checks)))
