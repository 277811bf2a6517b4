"""Programs that run beside the instances on a Docker Engine: reachable from both sides, and separate per checkout."""

import ast
import urllib.error
import urllib.request
import uuid

import pytest

from tailrace import profile
from tailrace.deploy import Release
from tailrace.deploy.engines import Slot
from tailrace.testbed import provider as providers

pytestmark = pytest.mark.docker

FAST = profile.Simulator(ttft_s=0.001, token_s=0.0)
SERVE = ("python3", "-m", "http.server", "--bind", "{host}", "--directory", "/etc", "{port}")
ASK = """
import sys, urllib.error, urllib.request
def ask(path):
    try:
        return urllib.request.urlopen(sys.argv[1] + path, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code
print({path: ask(path) for path in ("/v1/models", "/admin/stats")})
"""


@pytest.fixture
def engine(root):
    """Make an engine with a home of its own; all that it started is removed, with its network."""
    from tailrace.deploy.engines.docker.engine import DockerEngine

    made = []

    def make(home):
        made.append((DockerEngine(home, source=root), name))
        return made[-1][0]

    name = f"test-{uuid.uuid4().hex[:8]}"
    make.deployment = name
    yield make
    for one, deployment in made:
        one.clear(deployment)
        assert not one.client.networks.list(names=[f"tailrace-{one.scope(deployment)}"])
        one.client.close()


@pytest.fixture
def plain(engine, root, tmp_path):
    """A release of the bare base image."""
    from tailrace.deploy.images import base_image

    client = engine(tmp_path / "images").client
    name = base_image.ensure(client, root / ".tailrace" / "images")
    return Release("image", client.images.get(name).id, (), facts={"port": 8000})


def test_two_checkouts_with_a_deployment_of_one_name_leave_each_other_alone(engine, plain, tmp_path):
    """One takes its own down, and the other's still runs; from the same home it is found and ended."""
    one, two = engine(tmp_path / "one"), engine(tmp_path / "two")
    slot = Slot(engine.deployment, "", 0)
    mine, theirs = (e.beside("provider", plain, slot, SERVE) for e in (one, two))
    assert mine.handle != theirs.handle
    assert len(one.clear(engine.deployment)) == 1
    assert not one.alive(mine)
    assert two.alive(theirs)
    again = engine(tmp_path / "two")
    assert again.beside("provider", plain, slot, SERVE).handle == theirs.handle
    assert len(again.clear(engine.deployment)) == 1
    assert not two.alive(theirs)


def test_programs_beside_have_addresses_of_their_own_up_to_five(engine, plain, tmp_path):
    """Each name is another container at another address, and a sixth is refused."""
    from tailrace.errors import StartFailed

    one, slot = engine(tmp_path), Slot(engine.deployment, "", 0)
    stand = [one.beside(f"n{number}", plain, slot, SERVE) for number in range(5)]
    assert len({instance.address for instance in stand}) == 5
    assert one.instances(engine.deployment) == []
    with pytest.raises(StartFailed, match="5 programs run beside"):
        one.beside("n5", plain, slot, SERVE)


@pytest.mark.deep
def test_the_provider_is_found_from_both_sides_and_obeys_this_machine_only(engine, root, tmp_path):
    """Instances ask it in their network; only we may break it. It outlives a recovery, and not the end."""
    from tailrace.deploy.engines.docker import network

    images = root / ".tailrace" / "images"
    images.mkdir(parents=True, exist_ok=True)
    (tmp_path / "images").symlink_to(images)
    one, name = engine(tmp_path), engine.deployment
    provider = providers.simulated(FAST, one, name, "provider")
    spare = providers.simulated(FAST, one, name, "failing")
    assert provider.internal_url != provider.url
    assert len({provider.url, spare.url, provider.internal_url, spare.internal_url}) == 4
    assert providers.simulated(FAST, one, name, "provider") == provider
    with provider.broken({"kind": "outage"}):
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(provider.url + "/models", timeout=60)
        assert urllib.request.urlopen(spare.url + "/models", timeout=60).status == 200
    image = one.build(profile.Service(), root).build
    output = one.client.containers.run(
        image, ["-c", ASK, provider.internal_url.removesuffix("/v1")], entrypoint="python", remove=True,
        network=network.name(one.scope(name)),
    )  # fmt: skip
    assert ast.literal_eval(output.decode()) == {"/v1/models": 200, "/admin/stats": 403}
    assert one.sweep(name) == []
    assert provider.stats()["in_flight"] == 0
    assert len(one.clear(name)) == 2
    with pytest.raises(OSError, match="refused"):
        provider.stats()
