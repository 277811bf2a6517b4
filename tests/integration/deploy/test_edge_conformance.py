"""What the edge passes: the rows of tests/doors.py, asked of the service itself and at the edge, on each engine.

`TAILRACE_EDGE_TABLE=runbook/procedures/edge.md make test-all ARGS=tests/integration/deploy/test_edge_conformance.py`
writes the operator's page.
"""

import contextlib
import dataclasses
import importlib.util
import shutil
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from doors import H2C, HTTP1, IDLE_S, ROWS, head, once, seen, status, upgraded
from tailrace.deploy import Deployment
from tailrace.deploy.edge import Address, listeners
from tailrace.host import waiting
from tailrace.profile import Profile

SERVERS = Path(__file__).parents[1] / "servers"
PROGRAMS = {HTTP1: "verbatim.py", H2C: "verbatim_h2.py"}
EDGE = {"trusted_hops": 0, "stream_idle_s": IDLE_S}
ROLLOUT = {"bake_s": 0.1, "warmup": {"min_requests": 0, "max_requests": 0}, "stop_grace_s": 1}
OPTIONS = (
    "upgrade_configs", "http_protocol_options", "http2_protocol_options", "common_http_protocol_options",
    "early_header_mutation_extensions", "xff_num_trusted_hops",
)  # fmt: skip
"""What the listeners say of requests, beyond what Envoy does by itself."""
DOCKERFILE = """
FROM {base}
COPY . /servers
USER 65532:65532
LABEL session={session}
CMD ["python3", "/servers/verbatim.py"]
"""


def opened(home, protocol, edge, engine="process", **service):
    command = [sys.executable, str(SERVERS / PROGRAMS[protocol]), "--host", "{host}", "--port", "{port}"]
    service = {"protocol": protocol, "command": command, **service}
    name = f"doors-{uuid.uuid4().hex[:8]}"
    sections = {"service": service, "edge": {**EDGE, **edge}, "rollout": ROLLOUT}
    return Deployment.open(Profile.model_validate({"name": name, "engine": engine, **sections}), home)


@contextlib.contextmanager
def serving(d, source):
    """Bring it up, and take it down at the end."""
    try:
        d.up(d.build(source))
        yield d
    finally:
        d.down()


@pytest.fixture(scope="module")
def server_image(client, base, tmp_path_factory):
    """An image of both servers; h2 and what it needs are pure Python, and copied."""
    folder = tmp_path_factory.mktemp("context")
    for program in PROGRAMS.values():
        shutil.copy(SERVERS / program, folder)
    for package in ("h2", "hpack", "hyperframe"):
        found = importlib.util.find_spec(package)
        shutil.copytree(found.submodule_search_locations[0], folder / package)
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=base, session=uuid.uuid4().hex))
    built, _ = client.images.build(path=str(folder), rm=True, forcerm=True, network_mode="none")
    yield built.id
    client.images.remove(built.id, force=True)


@pytest.fixture
def deployed(request, tmp_path):
    """Return how to bring up the server of a protocol on an engine."""

    def process(protocol, **edge):
        return serving(opened(tmp_path, protocol, edge), SERVERS)

    def docker(protocol, **edge):
        command = ["python3", f"/servers/{PROGRAMS[protocol]}"]
        d = opened(tmp_path, protocol, edge, "docker", image=request.getfixturevalue("server_image"), command=command)
        root = request.getfixturevalue("root")
        return serving(dataclasses.replace(d, engine=dataclasses.replace(d.engine, source=root)), tmp_path)

    return {"process": process, "docker": docker}


def asked(d, rows):
    """Return what the service and the edge gave for each row. They are asked at once: some take seconds."""
    own = urlsplit(d.serving.url)
    with ThreadPoolExecutor(len(rows)) as pool:
        edge = pool.map(lambda row: row.answer(d.edge.layout.ingress), rows)
        service = list(pool.map(lambda row: row.answer(Address(own.hostname, own.port)), rows))
        return list(zip(rows, service, edge, strict=True))


def described(found):
    lines = [f"{row.request:55} service: {service:50} edge: {edge}" for row, service, edge in found]
    return "\n".join(["", *lines])


@pytest.mark.parametrize("engine", ["process", pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.deep])])
@pytest.mark.parametrize("protocol", [HTTP1, H2C])
def test_the_edge_gives_what_the_table_says(deployed, engine, protocol, record_property):
    """Of each row, the service itself and the edge."""
    with deployed[engine](protocol) as d:
        found = asked(d, [row for row in ROWS if row.protocol == protocol])
    print(described(found))
    wrong = [(row, s, e) for row, s, e in found if (s, e) != (row.service, row.expected)]
    passed = [row.request for row, _, _ in found if row.request not in {row.request for row, _, _ in wrong}]
    record_property("edge table", {"engine": engine, "protocol": protocol, "passed": passed})
    assert not wrong, described(wrong)


def test_an_edge_that_does_not_buffer_passes_a_request_as_it_comes(deployed):
    """Then trailers, and an answer before the request is whole, are passed: where they are the point."""
    with deployed["process"](HTTP1, buffered=False) as d:
        found = asked(d, [row for row in ROWS if row.protocol == HTTP1 and (row.streamed or "POST" in row.request)])
    assert {row.request: edge for row, _, edge in found} == {row.request: row.expected_streamed for row, _, _ in found}
    assert sum(row.expected_streamed != row.expected for row, _, _ in found) == 3


def test_without_our_options_the_rows_that_need_them_are_red(deployed, monkeypatch):
    """The negative control: Envoy by itself gives something else for each of these, and the same for the others."""
    ours = listeners.listener

    def plain(*arguments):
        document = ours(*arguments)
        manager = document["filter_chains"][0]["filters"][-1]["typed_config"]
        for option in OPTIONS:
            manager.pop(option, None)
        return document

    monkeypatch.setattr(listeners, "listener", plain)
    with deployed["process"](HTTP1) as d:
        found = asked(d, [row for row in ROWS if row.protocol == HTTP1])
    red = {row.request for row, _, edge in found if edge != row.expected}
    assert red == {row.request for row, _, _ in found if row.needs_options}, described(found)


@pytest.mark.parametrize(
    ("hops", "sent", "expected"),
    [
        (0, ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https"], "http, "),
        (1, ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https"], "https, 6.6.6.6,"),
        (1, ["X-Forwarded-For: 6.6.6.6, 7.7.7.7"], "http, 6.6.6.6, 7.7.7.7,"),
        (None, ["X-Forwarded-Proto: https"], "https, "),
    ],
)
def test_a_trusted_proxy_is_believed_and_a_stranger_is_not(deployed, hops, sent, expected):
    """What each says of its client; an edge on loopback trusts one without being told. The address of who asks the
    edge is the last one: of this machine, whichever of its addresses Envoy knows."""

    def say(reply):
        addresses = reply.seen("x-forwarded-for")
        last = addresses.rpartition(",")[2].strip()
        assert last not in expected
        return f"{reply.seen('x-forwarded-proto')}, {addresses.removesuffix(last)}"

    with deployed["process"](HTTP1, trusted_hops=hops) as d:
        assert once(head("/echo", *sent), say=say)(d.edge.layout.ingress) == expected


def test_the_profile_names_other_upgrades_and_the_limit_of_headers(deployed):
    """Nothing but what it names: then a WebSocket is an ordinary request."""
    with deployed["process"](HTTP1, upgrades=("frob/2", "spdy/3.1"), max_header_kb=8) as d:
        door = d.edge.layout.ingress
        assert upgraded("frob/2")(door) == upgraded("spdy/3.1")(door) == "101, echoes 6 70000, then bye and the end"
        assert once(head("/echo", "Connection: Upgrade", "Upgrade: websocket"), say=seen("upgrade"))(door) == (
            "upgrade: none"
        )
        assert once(head("/echo", f"X-Big: {'x' * 7_000}"), say=status)(door) == "200"
        assert once(head("/echo", f"X-Big: {'x' * 9_000}"), say=status)(door) == "431"


def test_what_a_client_does_wrong_is_no_failure_of_the_edge(deployed):
    """A stranger with odd requests fails no deploy; a stream that the edge ends is one, as the negative control."""
    rows = {row.request: row for row in ROWS if row.protocol == HTTP1}
    odd = [row for row in rows.values() if row.expected in ("400", "404", "431")]
    assert len(odd) == 6
    with deployed["process"](HTTP1) as d:
        before = d.counters()

        def ended():
            """Return how requests ended that the edge answered itself: it writes its access log once they have."""
            return d.counters().since(before).endings

        assert [row.answer(d.edge.layout.ingress) for row in odd] == [row.expected for row in odd]
        assert waiting.until(lambda: sum(ended().values()) == 4, 20), ended()
        assert not [ending for ending in ended() if ending.failed]
        assert rows["events with a silence beyond the idle time"].answer(d.edge.layout.ingress) == "begun, then cut"
        assert waiting.until(lambda: [str(ending) for ending in ended() if ending.failed], 20)
