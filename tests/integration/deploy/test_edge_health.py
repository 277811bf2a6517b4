"""The edge checks each colour as its release says, takes the statuses and the Host of the profile, and never leaves
traffic without its only instance."""

import dataclasses
import json
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tailrace.deploy import acceptance
from tailrace.deploy.edge import clusters
from tailrace.errors import NotReady
from tailrace.host import processes, waiting
from tailrace.profile import Acceptance, Health

SERVER = Path(__file__).parents[1] / "servers" / "choosy.py"
POLYGLOT = SERVER.with_name("polyglot.py")


@pytest.fixture
def choosy(deployment, release):
    """Return a deployment, and a function from the server's options and the health checks to a release of it."""
    d = deployment(smoke=(), warmup={"min_requests": 0, "max_requests": 0})

    def make(*options, **health):
        paths = dict.fromkeys(("live", "ready", "startup"), health.pop("path", "/healthz"))
        asked = Acceptance(health=Health(**paths, **health))
        command = ("{python}", str(SERVER), "--port", "{port}", *options)
        return dataclasses.replace(release(d), command=command, acceptance=asked)

    return d, make


def test_each_colour_is_checked_at_the_path_of_its_own_release(choosy, load):
    """The path moves with the release, the edge is replaced, and the way back asks the old path: no request is lost."""
    d, make = choosy
    d.up(make())
    with load(d.url, streams=0) as traffic:
        d.switch(make("--path", "/moved/health", path="/moved/health"))
        assert [d.edge.configuration.upstreams()[colour].health.live for colour in ("blue", "green")] == [
            "/healthz",
            "/moved/health",
        ]
        d.upgrade_edge()
        assert d.edge.healthy("green", d.serving.address)
        assert d.rollback().state == "done"
    assert traffic.failed == 0
    assert d.serving.colour == "blue"


@pytest.mark.deep
def test_what_the_edge_gets_for_an_answer_is_in_the_message(choosy):
    """The negative control: a release that has not moved is not found at another path."""
    d, make = choosy
    d.up(make())
    asked = Acceptance(health=Health(live="/moved/health"))
    d.edge.point("blue", d.serving.upstream(asked))
    expected = r"after 1.0 s. Its check, GET /moved/health with Host 127\.0\.0\.1:\d+, gets 404 \(answered 404\)"
    with pytest.raises(NotReady, match=expected + "; expected 200-299 within 2 s"):
        acceptance.wait_for_edge(d.edge, d.serving, asked, 1.0)


@pytest.mark.parametrize(
    ("options", "health"),
    [
        (["--status", "204"], {}),
        pytest.param(["--status", "404"], {"status": [200, 404]}, marks=pytest.mark.deep),
        pytest.param(["--hosts", "127.0.0.1"], {}, marks=pytest.mark.deep),
        (["--hosts", "api.example.com"], {"host": "api.example.com"}),
    ],
    ids=["204", "a list", "the address", "a host"],
)
def test_what_the_release_says_is_healthy_is_healthy(choosy, options, health):
    """At the edge and in the own probes, which ask as the edge does."""
    d, make = choosy
    d.up(make(*options, **health))
    (slot,) = d.status().slots
    assert (slot.live, slot.ready, slot.healthy) == (True, True, True)


@pytest.mark.deep
def test_a_server_of_http_2_without_tls_is_proved_and_served(choosy):
    """Users speak what they like to the edge; the negative control is a release of it that does not say `h2c`."""
    d, make = choosy
    plain = dataclasses.replace(make(), command=("{python}", str(POLYGLOT), "--protocol", "h2c", "--port", "{port}"))
    h2c = dataclasses.replace(plain, acceptance=Acceptance(protocol="h2c"))
    d.up(h2c)
    (slot,) = d.status().slots
    assert (slot.live, slot.ready, slot.healthy) == (True, True, True)
    assert spoken(d) == "2"
    d.switch(plain)
    assert spoken(d) == "1.1"


def spoken(d):
    """Return the version of HTTP that the edge speaks with the service."""
    with urllib.request.urlopen(f"{d.url}/headers") as answer:
        return json.load(answer)["http_version"]


def ask(url, statuses):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            statuses.append(answer.status)
    except urllib.error.HTTPError as error:
        statuses.append(error.code)


@pytest.mark.fault(
    "the only instance is slow, and its health checks fail",
    "the slow instance: requests wait for it",
    "`status`: healthy no; no request is refused",
    "nothing; when it lasts: look at its log, `restart`",
)
@pytest.mark.deep
def test_the_only_instance_keeps_its_traffic_while_it_is_slow(choosy):
    """The edge finds it unhealthy, and requests wait for it, as they do when it is asked directly."""
    d, make = choosy
    d.up(make())
    statuses = []
    d.engine.freeze(d.serving)
    try:
        assert waiting.until(lambda: not d.edge.healthy("blue", d.serving.address), 60)
        user = threading.Thread(target=ask, args=(d.url, statuses))
        user.start()
        assert waiting.until(lambda: d.counters().active == 1, 60)
    finally:
        d.engine.thaw(d.serving)
    user.join()
    assert statuses == [200]


def ask_more_than_may_queue(d):
    """Return how 12 requests ended whose instance accepted no connection for 6 s; its kernel queues 6 for it."""
    statuses = []
    d.engine.freeze(d.serving)
    users = [threading.Thread(target=ask, args=(d.url, statuses)) for _ in range(12)]
    try:
        for user in users:
            user.start()
        time.sleep(6)
    finally:
        d.engine.thaw(d.serving)
    for user in users:
        user.join()
    return statuses


@pytest.mark.deep
def test_an_instance_that_is_too_busy_to_accept_connections_keeps_them(choosy):
    """A request waits for its connection as long as for its answer."""
    d, make = choosy
    d.up(make())
    assert ask_more_than_may_queue(d) == [200] * 12


@pytest.mark.deep
def test_with_a_second_for_a_connection_some_would_fail(choosy, monkeypatch):
    """The negative control: the edge gives up after a second, three times, while the instance lives."""
    monkeypatch.setattr(clusters, "CONNECT_TIMEOUT_S", 1)
    d, make = choosy
    d.up(make())
    assert set(ask_more_than_may_queue(d)) == {200, 503}


@pytest.mark.deep
def test_an_instance_that_is_dead_is_told_at_once(choosy):
    """The negative control: there is nobody to wait for, whether the edge has found it out yet or not."""
    d, make = choosy
    d.up(make())
    statuses = []
    processes.kill(processes.find(d.folder / "processes", d.serving.name))  # with its supervisor: it stays dead
    ask(d.url, statuses)
    assert waiting.until(lambda: not d.edge.healthy("blue", d.instances[0].address), 60)
    ask(d.url, statuses)
    assert statuses == [503, 503]
