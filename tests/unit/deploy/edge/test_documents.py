"""The files that Envoy reads, and what we make of one that is not ours."""

import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.deploy.edge import Address, Layout, Routes, bootstrap, other, route_file
from tailrace.deploy.edge.clusters import endpoints
from tailrace.deploy.engines.process.edge import binary
from tailrace.errors import EdgeRejected

HERE = Address("127.0.0.1", 18_001)


@settings(deadline=None)
@given(st.integers(1, 10**9), st.integers(1, 99), st.sampled_from([0.0, 0.5, 30.0]))
def test_routes_come_back_as_they_were_written(tmp_path_factory, generation, weight, hold_s):
    """Generation, weights and pause survive the file."""
    path = tmp_path_factory.mktemp("edge") / "routes.yaml"
    wanted = Routes(generation, {"blue": weight, "green": 100 - weight}, hold_s)
    path.write_text(route_file.document(wanted))
    assert route_file.read(path) == wanted


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("name: blue", "name: mauve"),
        lambda text: text.replace("weight: 100", "weight: 90"),
        lambda text: text.replace("validate_clusters: true", "validate_clusters: false"),
        lambda text: text.replace("connect-failure", "5xx"),
        lambda text: "\x00" + text,
    ],
    ids=["half", "empty", "colour", "sum", "unvalidated", "replays", "binary"],
)
def test_a_route_file_that_we_would_not_have_written_is_refused(tmp_path, damage):
    """Envoy would ignore it while it runs, and answer 404 once it starts on it."""
    path = tmp_path / "routes.yaml"
    path.write_text(damage(route_file.document(Routes(7, {"blue": 100}))))
    with pytest.raises(EdgeRejected):
        route_file.read(path)


def test_the_generation_is_in_the_content():
    """Else Envoy would not take the same routes as an update."""
    assert route_file.document(Routes(7, {"blue": 100})) != route_file.document(Routes(8, {"blue": 100}))
    assert "x-generation" in route_file.document(Routes(7, {"blue": 100}))


def test_a_held_endpoint_keeps_its_address():
    """It is set aside, not forgotten."""
    document = yaml.safe_load(endpoints("blue", HERE, held=True))
    first, second = document["resources"][0]["endpoints"][0]["lb_endpoints"]
    assert first["health_status"] == "DRAINING"
    assert second["endpoint"]["health_check_config"]["disable_active_health_check"]


def test_the_other_colour():
    """There are two."""
    assert (other("blue"), other("green")) == ("green", "blue")


def test_envoy_accepts_the_bootstrap(tmp_path):
    """By its own validation."""
    addresses = [Address("127.0.0.1", port) for port in range(18_001, 18_006)]
    layout = Layout(*addresses, folder=str(tmp_path), live_path="/healthz", stream_idle_s=300.0)
    path = tmp_path / "bootstrap.yaml"
    path.write_text(bootstrap.document(layout))
    for name, content in (("routes", route_file.document(Routes(1, {"blue": 100}))), ("blue", endpoints("blue", HERE))):
        (tmp_path / f"{name}.yaml").write_text(content)
    (tmp_path / "green.yaml").write_text(endpoints("green", None))
    command = [str(binary()), "--mode", "validate", "--disable-hot-restart", "-c", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
