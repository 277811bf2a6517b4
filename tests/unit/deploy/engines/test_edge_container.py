"""What the container of an edge is started with: who it runs as, what it sees, and which ports it has."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from certificates import Authority
from tailrace.deploy.edge import Address, Layout
from tailrace.deploy.engines.docker import edge as docker_edge
from tailrace.deploy.engines.docker import network
from tailrace.profile import EdgeSettings, Tls


class Client:
    """Keeps what a container was run with, and runs none."""

    def __init__(self):
        self.containers = self.api = self
        self.given = {}

    def run(self, image, **given):
        self.given = given

    def create_endpoint_config(self, **given):
        return given


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Return how to start an edge, by its settings and by who starts it."""
    monkeypatch.setattr(docker_edge.image, "edge", lambda *_: SimpleNamespace(id="image"))
    monkeypatch.setattr(docker_edge.dockerd, "find", lambda *_: None)
    monkeypatch.setattr(network, "address", lambda *_: "10.213.0.2")
    chowned = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: chowned.append((path.name, uid, gid)))
    folder = tmp_path / "edge"
    folder.mkdir()
    doors = [Address("127.0.0.1", port) for port in range(18_001, 18_005)]
    layout = Layout(*doors, Address(str(tmp_path / "sockets" / "admin.sock"), 0), folder="/edge", bind="0.0.0.0")

    def start(user, **settings):
        monkeypatch.setattr(os, "geteuid", lambda: user)
        client = Client()
        told = replace(layout, settings=EdgeSettings(**settings))
        docker_edge.EdgeContainer(lambda: client, folder, told, "scope", {}, tmp_path, tmp_path).start()
        return client.given, chowned

    return start


def test_no_port_of_an_edge_controls_it(started, tmp_path):
    """Its admin is a socket in a folder that no other container has; it is started there, as the socket has no path."""
    given, _ = started(1000)
    assert sorted(given["ports"]) == ["18001/tcp", "18002/tcp", "18003/tcp", "18004/tcp"]
    sockets = tmp_path / "sockets"
    assert given["volumes"][str(sockets)] == {"bind": given["working_dir"], "mode": "rw"}
    assert sockets.stat().st_mode & 0o777 == 0o700


def test_the_door_for_counters_is_published_where_the_profile_names_one(started):
    """On loopback, as every door."""
    given, _ = started(1000, metrics_port=18_009)
    assert given["ports"]["18009/tcp"] == ("127.0.0.1", 18_009)


@pytest.mark.parametrize(
    ("user", "runs_as", "owner"), [(0, "65532:65532", [("sockets", 65532, 65532)]), (1000, None, [])]
)
def test_an_edge_runs_as_whoever_reaches_its_sockets(started, user, runs_as, owner):
    """An ordinary user as himself; root lets the image's own user have the folder."""
    given, chowned = started(user)
    assert given["user"] == (runs_as or f"1000:{os.getegid()}")
    assert chowned == owner


def test_an_edge_with_a_key_runs_as_who_may_read_it(started, tmp_path):
    """Only its owner may."""
    certificate, key = Authority.made(tmp_path / "tls").sign("host")
    given, chowned = started(0, tls=Tls(certificate=str(certificate), key=str(key)))
    owner = key.stat()
    assert given["user"] == f"{owner.st_uid}:{owner.st_gid}"
    assert chowned == [("sockets", owner.st_uid, owner.st_gid)]
