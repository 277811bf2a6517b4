"""What the Docker Engine is asked to make of an instance with secrets: a stub of its client records it."""

import io
import tarfile
from types import SimpleNamespace

import pytest

from tailrace.deploy.edge import Address
from tailrace.deploy.engines import Slot
from tailrace.deploy.engines.docker import network
from tailrace.deploy.engines.docker.engine import DockerEngine
from tailrace.deploy.images import image
from tailrace.deploy.images.confinement import PROOF
from tailrace.deploy.release import Release

VALUE = "zebra-quartz-4417"


class Recorder:
    """A container, and the client that makes it."""

    def __init__(self):
        self.created, self.archives, self.name, self.labels, self.id = {}, {}, "c", {}, "1"
        self.attrs = {"NetworkSettings": {"Networks": {"n": {"IPAddress": "10.0.0.9"}}, "Ports": {}}}
        self.containers, self.api = self, SimpleNamespace(create_endpoint_config=lambda **options: options)
        self.images = SimpleNamespace(get=lambda id: SimpleNamespace(attrs={"Config": {"User": "65532:65532"}}))

    def create(self, build, command, **options):
        self.created = options
        self.labels = options["labels"]
        return self

    def put_archive(self, folder, archive):
        self.archives[folder] = archive

    def start(self):
        assert self.archives or not self.created["volumes"], "the files are there before the program"

    def reload(self):
        pass


def started(tmp_path, monkeypatch, by_file):
    monkeypatch.setenv("HERE", VALUE)
    monkeypatch.setattr(network, "address", lambda client, scope, number: f"10.0.0.{number}")
    client, engine = Recorder(), DockerEngine(tmp_path)
    engine.__dict__["client"] = client
    facts = {"port": 8000, image.BY_FILE: by_file}
    release = Release("image", "sha256:1", (), {"PLAIN": "1"}, False, facts=facts)
    slot = Slot("d", "blue", 1, {}, {"ITS_KEY": "HERE"})
    marked = {"deployment": "d", "colour": "blue", "release": "r", "generation": "1"}
    engine._run("blue-1", slot, release, (), Address("10.0.0.9", 8000), marked)
    return client


def test_a_secret_is_a_file_and_no_variable(tmp_path, monkeypatch):
    """The environment, which everybody reads who may ask the engine, holds the path alone."""
    client = started(tmp_path, monkeypatch, True)
    assert client.created["environment"] == {"PLAIN": "1", "ITS_KEY_FILE": "/run/secrets/ITS_KEY"}
    assert VALUE not in repr(client.created)
    with tarfile.open(fileobj=io.BytesIO(client.archives["/run/secrets"])) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.mode, member.uid) == ("ITS_KEY", 0o400, 65532)


def test_an_image_that_does_not_say_so_gets_variables(tmp_path, monkeypatch):
    """The negative control, and what images of others read."""
    client = started(tmp_path, monkeypatch, False)
    assert client.created["environment"] == {"PLAIN": "1", "ITS_KEY": VALUE}
    assert not client.archives


@pytest.mark.parametrize("limit", ["mem_limit", "nano_cpus", "pids_limit", "security_opt", "cap_drop", "read_only"])
def test_a_container_that_proves_something_is_limited_as_an_instance_is(tmp_path, monkeypatch, limit):
    """Memory, processors, processes, privileges."""
    assert PROOF[limit] == started(tmp_path, monkeypatch, False).created[limit]
