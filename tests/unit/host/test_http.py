"""One request over a Unix socket, whose path may be longer than the kernel takes one."""

import socketserver
import threading
from pathlib import Path

import pytest

from pages import QuietHandler
from tailrace.host import http


class Echo(QuietHandler):
    """Says what was asked of whom."""

    def address_string(self) -> str:
        return ""

    def do_GET(self) -> None:
        body = f"{self.path} of {self.headers['host']}".encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture(params=["short", "long" * 60, "with a space and 100 %", "Mixed/Case"])
def path(request, tmp_path, monkeypatch):
    """The path of a socket that answers; it is bound by its name in its folder, as Envoy binds its own."""
    folder = tmp_path / request.param
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    with UnixServer("a.sock", Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.chdir("/")
        yield str(folder / "a.sock")
        server.shutdown()


def test_a_unix_socket_is_asked_by_its_url(path):
    """Path and query come through as they are; no descriptor stays open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    answer = http.exchange(http.unix_url(path) + "/stats?filter=a%2Fb")
    assert (answer.status, answer.body) == (200, b"/stats?filter=a%2Fb of localhost")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1  # the server's side may be there a moment longer


def test_a_socket_that_is_not_there_is_one_of_the_failures(tmp_path):
    """Negative control: as a port where nobody listens is."""
    for missing in (tmp_path / "a.sock", tmp_path / ("long" * 60) / "a.sock"):
        with pytest.raises(http.FAILURES):
            http.exchange(http.unix_url(str(missing)) + "/")
