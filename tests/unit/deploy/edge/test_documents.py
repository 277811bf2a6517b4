"""The files that Envoy reads, and what we make of one that is not ours."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.deploy.edge import (
    Address,
    CanaryRoute,
    Layout,
    Maintenance,
    Routes,
    bootstrap,
    clusters,
    listeners,
    other,
    route_file,
)
from tailrace.deploy.edge.maintenance import TYPES
from tailrace.deploy.engines.process.edge import binary
from tailrace.errors import EdgeRejected
from tailrace.profile import EdgeSettings, Health

HERE = clusters.Upstream(Address("127.0.0.1", 18_001))

PLAIN = clusters.UpstreamSettings()
OTHER = clusters.UpstreamSettings(Health(live="/up", status=[204, "300-302"]), "h2c")


VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
CANARIES = st.builds(
    CanaryRoute, st.sampled_from(["header", "cookie"]), VALUES, VALUES, st.sampled_from(["blue", "green"])
)
PAGES = st.builds(
    Maintenance,
    st.integers(1, 86_400),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(list(TYPES.values())),
)
ROUTES = st.builds(
    lambda generation, weight, *more: Routes(generation, {"blue": weight, "green": 100 - weight}, *more),
    st.integers(1, 10**9),
    st.integers(1, 99),
    st.sampled_from([0.0, 0.5, 30.0]),
    st.none() | CANARIES,
    st.none() | PAGES,
)


@settings(deadline=None)
@given(ROUTES)
def test_routes_come_back_as_they_were_written(tmp_path_factory, wanted):
    """Generation, weights, pause, canary and maintenance survive the file."""
    path = tmp_path_factory.mktemp("edge") / "routes.yaml"
    path.write_text(route_file.document(wanted), encoding="utf-8")
    assert route_file.read(path) == wanted


@settings(deadline=None)
@given(ROUTES, st.data())
def test_routes_of_which_a_line_is_missing_are_refused(tmp_path_factory, wanted, data):
    """Whichever line that is, with EdgeRejected and no other error; what is read is what the file says."""
    path = tmp_path_factory.mktemp("edge") / "routes.yaml"
    lines = route_file.document(wanted).splitlines(keepends=True)
    del lines[data.draw(st.integers(0, len(lines) - 1))]
    path.write_text("".join(lines), encoding="utf-8")
    try:
        found = route_file.read(path)
    except EdgeRejected:
        return
    assert yaml.safe_load(route_file.document(found)) == yaml.safe_load("".join(lines))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("name: blue", "name: mauve"),
        lambda text: text.replace("weight: 100", "weight: 90"),
        lambda text: text.replace("validate_clusters: true", "validate_clusters: false"),
        lambda text: text.replace("connect-failure", "5xx"),
        lambda text: text.replace("name: canary\n", "name: anybody\n", 1),
        lambda text: text.replace("exact: always", "prefix: always"),
        lambda text: text.replace("exact: probe", "prefix: ''"),
        lambda text: text.replace("status: 503", "status: 200"),
        lambda text: text.replace("value: '60'", "value: '61'", 1),
        lambda text: text.replace("key: tailrace.door", "key: door"),
        lambda text: "\x00" + text,
    ],
    ids=[
        "half", "empty", "colour", "sum", "unvalidated", "replays", "canary", "wider", "open", "success", "unequal",
        "door", "binary",
    ],
)  # fmt: skip
def test_a_route_file_that_we_would_not_have_written_is_refused(tmp_path, damage):
    """Envoy would ignore it while it runs, and answer 404 once it starts on it."""
    path = tmp_path / "routes.yaml"
    canary = CanaryRoute("header", "x-canary", "always", "green")
    written = route_file.document(Routes(7, {"blue": 100}, canary=canary, maintenance=Maintenance.of(60)))
    assert damage(written) != written
    path.write_text(damage(written))
    with pytest.raises(EdgeRejected):
        route_file.read(path)


def test_the_generation_is_in_the_content():
    """Else Envoy would not take the same routes as an update."""
    assert route_file.document(Routes(7, {"blue": 100})) != route_file.document(Routes(8, {"blue": 100}))
    assert "x-generation" in route_file.document(Routes(7, {"blue": 100}))


def test_a_held_endpoint_keeps_its_address():
    """It is set aside, not forgotten."""
    document = yaml.safe_load(clusters.endpoints("blue", HERE, held=True))
    first, second = document["resources"][0]["endpoints"][0]["lb_endpoints"]
    assert first["health_status"] == "DRAINING"
    assert second["endpoint"]["health_check_config"]["disable_active_health_check"]


def test_the_other_colour():
    """There are two."""
    assert (other("blue"), other("green")) == ("green", "blue")


@pytest.fixture
def layout(tmp_path):
    addresses = [Address("127.0.0.1", port) for port in range(18_001, 18_006)]
    return Layout(*addresses, folder=str(tmp_path))


def complaints(layout, **changed):
    """Write the files of an edge, some of them changed; return what Envoy's own validation says against them."""
    folder = Path(layout.folder)
    canary = CanaryRoute("cookie", "canary", "1", "green")
    documents = {
        "routes": route_file.document(Routes(1, {"blue": 100}, canary=canary, maintenance=Maintenance.of(60))),
        "clusters": clusters.document({"blue": PLAIN, "green": OTHER}, layout),
        "listeners": listeners.document(layout, former=replace(layout, ingress=Address("127.0.0.1", 18_009))),
        "blue": clusters.endpoints("blue", HERE),
        "green": clusters.endpoints("green", None),
    } | changed
    for name, content in documents.items():
        (folder / f"{name}.yaml").write_text(content)
    started = yaml.safe_load(bootstrap.document(layout))
    # Envoy does not validate what it would read from files: here it stands in the bootstrap itself.
    del started["dynamic_resources"]
    resources = {kind: yaml.safe_load(documents[kind])["resources"] for kind in ("clusters", "listeners")}
    for resource in (*resources["clusters"], *resources["listeners"]):
        del resource["@type"]
    (folder / "bootstrap.yaml").write_text(yaml.safe_dump({**started, "static_resources": resources}))
    command = [str(binary()), "--mode", "validate", "--disable-hot-restart", "-c", str(folder / "bootstrap.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def test_envoy_accepts_every_file(layout):
    """By its own validation."""
    assert complaints(layout) == ""


def test_envoy_accepts_every_setting_of_the_doors(layout):
    """The longest paths to hide, as many as may be; a door for its own counters; requests that go on as they come."""
    paths = tuple(f"/{chr(97 + n) * 20}/{'b.c-d' * 7}" for n in range(16))
    settings = EdgeSettings(hidden_paths=paths, metrics_port=18_010, buffered=False, request_s=0.5)
    assert complaints(replace(layout, settings=settings)) == ""


def test_envoy_refuses_a_file_with_an_unknown_word(layout):
    """The negative control of its validation."""
    spoilt = clusters.document({"blue": PLAIN, "green": PLAIN}, layout).replace("connect_timeout", "patience")
    assert "patience" in complaints(layout, clusters=spoilt)


def test_the_clusters_of_one_colour_do_not_depend_on_the_other(layout):
    """Envoy leaves alone what stays the same in the file, so traffic of the serving colour is not disturbed."""
    before, after = (
        yaml.safe_load(clusters.document({"blue": PLAIN, "green": green}, layout))["resources"]
        for green in (PLAIN, OTHER)
    )
    assert before[:2] == after[:2]
    assert before[2:] != after[2:]


def test_the_checks_of_each_colour_come_back_as_they_were_written(layout, tmp_path):
    """Whoever changes one colour knows how the other is checked."""
    wanted = {"blue": PLAIN, "green": OTHER}
    (tmp_path / "clusters.yaml").write_text(clusters.document(wanted, layout))
    assert clusters.read(tmp_path / "clusters.yaml") == wanted


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace("/healthz", "/elsewhere"),
        lambda text: text.replace("version_info: v", "version_info: w"),
        lambda text: "\x00" + text,
    ],
    ids=["half", "empty", "edited", "version", "binary"],
)
def test_a_damaged_file_is_refused(layout, tmp_path, damage):
    """Envoy would ignore it while it runs, and have no cluster once it starts on it."""
    path = tmp_path / "clusters.yaml"
    path.write_text(damage(clusters.document({"blue": PLAIN, "green": PLAIN}, layout)))
    with pytest.raises(EdgeRejected, match=r"clusters\.yaml"):
        clusters.read(path)


def test_the_checks_are_those_of_the_release(layout):
    """Path, statuses and protocol of its own; Envoy's ranges end before their last number."""
    document = yaml.safe_load(clusters.document({"blue": PLAIN, "green": OTHER}, layout))
    by_name = {one["name"]: one for one in document["resources"]}
    check = by_name["green"]["health_checks"][0]["http_health_check"]
    assert (check["path"], check["codec_client_type"]) == ("/up", "HTTP2")
    assert check["expected_statuses"] == [{"start": 204, "end": 205}, {"start": 300, "end": 303}]
    assert by_name["blue"]["health_checks"][0]["http_health_check"]["expected_statuses"] == [{"start": 200, "end": 300}]
    assert "health_checks" not in by_name["preview-green"]
