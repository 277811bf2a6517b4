"""TLS at the front door, and a certificate that is renewed under load."""

import dataclasses
import http.client
import re
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from certificates import Authority, put
from tailrace.deploy.edge import tls
from tailrace.errors import PartMissing
from tailrace.host import waiting
from tailrace.host.http import exchange
from tailrace.profile import Tls


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.made(tmp_path_factory.mktemp("authority"))


class Clients:
    """Threads that ask again and again, each time on a connection of its own, and verify who answers."""

    def __init__(self, url, authority, threads=4):
        self.port, self.context = urlsplit(url).port, ssl.create_default_context(cafile=authority.certificate)
        self.seen, self._stop = Counter(), threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def names(self):
        """Return whose certificates were seen."""
        return {name for name, status in self.seen if status == 200}

    def ask(self):
        """Return the name in the certificate, and the status."""
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=self.context)
        try:
            connection.request("GET", "/")
            name = dict(pair[0] for pair in connection.sock.getpeercert()["subject"])["commonName"]
            return name, connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return "", repr(error)
        finally:
            connection.close()

    def _run(self):
        while not self._stop.is_set():
            self.seen[self.ask()] += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_a_renewed_certificate_is_taken_without_a_lost_request(deployment, release, authority, tmp_path):
    """Both are seen, no request fails, and a key is nowhere in what we wrote."""
    files = put(authority.sign("first"), tmp_path / "tls")
    d = deployment(edge={"tls": files})
    d.up(release(d))
    assert d.url.startswith("https://127.0.0.1:")
    with Clients(d.url, authority) as clients:
        assert waiting.until(lambda: "first" in clients.names(), 30)
        put(authority.sign("second"), tmp_path / "tls")
        assert waiting.until(lambda: "second" in clients.names(), 30)
    assert {(name, status) for name, status in clients.seen} == {("first", 200), ("second", 200)}
    secret = (tmp_path / "tls" / "key.pem").read_text().splitlines()[1]
    written = [path for path in (tmp_path / "test").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if secret in path.read_text(errors="replace")]


def test_the_front_door_offers_http_2_and_says_when_its_certificate_expires(deployment, release, authority, tmp_path):
    """By ALPN, and in the metric that the alert uses; the negative control of both is an edge without TLS."""
    days = "envoy_server_days_until_first_cert_expiring{}"

    def metric(d):
        lines = exchange(f"{d.edge.layout.admin.url}/stats/prometheus").body.decode().splitlines()
        return next(int(line.split()[-1]) for line in lines if line.startswith(days))

    d = deployment(edge={"tls": put(authority.sign("first", days=9), tmp_path / "tls")})
    d.up(release(d))
    context = ssl.create_default_context(cafile=authority.certificate)
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        context.set_alpn_protocols(offered)
        plain = socket.create_connection(("127.0.0.1", d.edge.layout.ingress.port), 20)
        with context.wrap_socket(plain, server_hostname="localhost") as secured:
            assert secured.selected_alpn_protocol() == chosen
    assert metric(d) == 8
    d.down()
    d = deployment()
    d.up(release(d))
    assert not tls.served(d.edge.layout.ingress, Tls(**put(authority.sign("first"), tmp_path / "tls")))
    assert metric(d) > 10_000


def test_a_key_without_its_certificate_changes_nothing(deployment, release, authority, tmp_path):
    """The negative control: half a renewal is not taken; the other half completes it."""
    files = put(authority.sign("first"), tmp_path / "tls")
    d = deployment(edge={"tls": files})
    d.up(release(d))
    second = authority.sign("second")
    with Clients(d.url, authority) as clients:
        put((tmp_path / "tls" / "certificate.pem", second[1]), tmp_path / "tls")
        before = clients.seen.total()
        assert waiting.until(lambda: clients.seen.total() > before + 50, 30)
        assert set(clients.seen) == {("first", 200)}
        put(second, tmp_path / "tls")
        assert waiting.until(lambda: "second" in clients.names(), 30)
    assert set(clients.seen) == {("first", 200), ("second", 200)}


def test_a_switch_under_tls_loses_nothing(deployment, release, authority, tmp_path):
    """The doors of the switch, for probes, previews and the admin, speak plain HTTP as before."""
    d = deployment(edge={"tls": put(authority.sign("first"), tmp_path / "tls")}, warmup={"min_requests": 0})
    d.up(release(d))
    with Clients(d.url, authority) as clients:
        d.switch(release(d, name="second"))
    assert set(clients.seen) == {("first", 200)}
    assert d.serving.colour == "green"
    assert exchange(d.probe_url).status == 200


def test_a_deploy_brings_tls_to_a_running_edge_and_takes_another_path_without_a_lost_request(
    deployment, release, authority, tmp_path
):
    """The front door keeps its port; once it speaks TLS, a changed path is one more renewal."""
    d = deployment()
    built = release(d)
    d.deploy(built, {})
    port = d.edge.layout.ingress.port
    first = Tls(**put(authority.sign("first"), tmp_path / "first"))
    second = Tls(**put(authority.sign("second"), tmp_path / "second"))
    d = deployment(edge={"tls": first.model_dump()})
    d.deploy(built, {})
    assert (urlsplit(d.url).scheme, urlsplit(d.url).port) == ("https", port)
    assert tls.served(d.edge.layout.ingress, first)
    assert not tls.served(d.edge.layout.ingress, second)
    with Clients(d.url, authority) as clients:
        assert waiting.until(lambda: "first" in clients.names(), 30)
        d = deployment(edge={"tls": second.model_dump()})
        d.deploy(built, {})
        assert tls.served(d.edge.layout.ingress, second)
        assert waiting.until(lambda: "second" in clients.names(), 30)
    assert set(clients.seen) == {("first", 200), ("second", 200)}
    d = deployment()
    d.deploy(built, {})
    assert exchange(d.url, timeout_s=20).status == 200


def test_a_certificate_that_cannot_be_used_is_refused_before_anything_starts(deployment, release, authority, tmp_path):
    """No edge, no instance, no route file."""
    files = put(authority.sign("old", days=-1), tmp_path / "tls")
    d = deployment(edge={"tls": files})
    with pytest.raises(PartMissing, match="expired"):
        d.up(release(d))
    assert not d.is_up
    assert d.abandoned() == []


def test_the_load_generator_trusts_what_ssl_cert_file_names(deployment, release, authority, tmp_path, monkeypatch):
    """And nobody else: without it, each request fails for the certificate."""
    d = deployment(edge={"tls": put(authority.sign("first"), tmp_path / "tls")})
    d.up(release(d))
    command = [sys.executable, "-m", "tailrace", "load", d.url, "--rate", "20", "--duration", "1", "--json"]

    def outcome():
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    refused = outcome()
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    passed = outcome()
    assert "every one of 20 requests failed (tls 20)" in refused.stdout
    assert "tls" not in passed.stdout


@pytest.fixture
def page(root):
    """The blocks of shell on the operator's page."""
    return re.findall(r"```sh\n(.*?)```", (root / "runbook/procedures/tls.md").read_text(), re.DOTALL)


def test_the_hook_on_the_page_installs_what_an_acme_client_has_written(deployment, release, authority, tmp_path, page):
    """By a rename, as Envoy wants it; the negative control is certbot's own way, a link that is made anew."""
    (script,) = [block for block in page if "install-certificate" in block]
    folder, live = tmp_path / "tls", tmp_path / "live"
    live.mkdir()
    files = put(authority.sign("first"), folder)
    linked = {name: live / Path(path).name for name, path in files.items()}
    for name, link in linked.items():
        link.symlink_to(files[name])
    d = deployment(edge={"tls": {name: str(link) for name, link in linked.items()}})
    d.up(release(d))
    second = authority.sign("second")
    with Clients(d.url, authority) as clients:
        for link, renewed in zip(linked.values(), second, strict=True):
            link.unlink()
            link.symlink_to(renewed)
        before = clients.seen.total()
        assert waiting.until(lambda: clients.seen.total() > before + 50, 30)
        assert clients.names() == {"first"}
        script = script.replace("/srv/tls", str(live)).replace("fullchain.pem", "certificate.pem")
        subprocess.run(["sh", "-c", script, "install-certificate", *second], check=True)
        assert waiting.until(lambda: "second" in clients.names(), 30)
    assert set(clients.seen) == {("first", 200), ("second", 200)}
    assert not [path.name for path in live.iterdir() if path.name.startswith(".")]
    assert stat.S_IMODE((live / "key.pem").stat().st_mode) == 0o600


@pytest.mark.docker
@pytest.mark.deep
def test_a_container_reads_the_key_where_it_is_and_takes_a_renewed_one(foreign, authority, tmp_path):
    """The folder is mounted, and Envoy runs as the key's owner: nobody else may read it."""
    files = put(authority.sign("first"), tmp_path / "tls")
    d = foreign()
    profile = d.profile.model_copy(update={"edge": d.profile.edge.model_copy(update={"tls": Tls(**files)})})
    d = dataclasses.replace(d, profile=profile)
    d.up(d.build(tmp_path))
    with Clients(d.url, authority) as clients:
        assert waiting.until(lambda: "first" in clients.names(), 30)
        put(authority.sign("second"), tmp_path / "tls")
        assert waiting.until(lambda: "second" in clients.names(), 30)
    assert set(clients.seen) == {("first", 200), ("second", 200)}
