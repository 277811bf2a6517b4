"""A deployment's life: up, status, counters, down, and what is found by whoever comes after."""

import urllib.request

import pytest

from tailrace.deploy import Deployment, watch
from tailrace.errors import DeployError, Locked
from tailrace.host import lock, processes


def test_up_is_safe_to_repeat(deployment, release):
    """A second up leaves the serving instance as it is."""
    d = deployment()
    d.up(release(d))
    serving, generation = d.serving, d.edge.routes().generation
    d.up(release(d, name="other"))
    assert (d.serving, d.edge.routes().generation) == (serving, generation)


def test_up_starts_again_what_died(deployment, release):
    """An instance that is gone, its supervisor included, is replaced, and the door stays the same."""
    d = deployment()
    d.up(release(d))
    url, dead = d.url, d.serving
    processes.kill(processes.find(d.folder / "processes", dead.name))
    d.up(release(d))
    assert d.url == url
    assert d.serving.handle != dead.handle
    assert [d.engine.alive(i) for i in d.instances] == [True]
    assert urllib.request.urlopen(d.url).status == 200


def test_probes_and_previews_are_not_counted_as_traffic(deployment, release):
    """What the edge and the switch ask for themselves stays out of the requests."""
    d = deployment()
    d.up(release(d))
    assert d.counters().requests == 0
    assert d.counters().probes > 0
    for _ in range(3):
        urllib.request.urlopen(d.url).read()
    assert d.counters().requests == d.counters().answers_2xx == 3


def test_status_tells_what_is_there(deployment, release):
    """Colours, releases, health, weight, and the last transition."""
    d = deployment()
    assert d.status().serving == ""
    built = release(d)
    d.up(built)
    status = d.status()
    slot = status.slot("blue")
    assert (status.serving, status.edge_alive, status.unfinished, status.busy) == ("blue", True, "", False)
    assert (slot.release, slot.live, slot.ready, slot.healthy, slot.weight) == (built.id, True, True, True, 100)
    assert "blue serves" in status.last


def test_down_stops_all_and_keeps_the_journal(deployment, release):
    """It says what it stopped; a second time there is nothing to stop."""
    d = deployment()
    d.up(release(d))
    pids = [i.handle for i in d.instances]
    stopped = d.down()
    assert len(stopped) == 2
    assert "edge at" in stopped[0]
    assert "blue" in stopped[1]
    assert pids
    assert d.down() == []
    assert d.instances == []
    assert [event.state for event in d.journal.entries()][-2:] == ["done", "down"]
    d.up(release(d))
    assert urllib.request.urlopen(d.url).status == 200


def test_somebody_else_finds_what_was_left(deployment, release):
    """Another opener of the same folder sees the same deployment, and can take it down."""
    d = deployment()
    d.up(release(d))
    other = Deployment.open(d.profile, d.folder.parent)
    assert other.serving == d.serving
    assert len(other.abandoned()) == 2
    assert len(other.down()) == 2
    assert other.abandoned() == []


def test_only_one_deploy_at_a_time(deployment, release):
    """The second one is refused at once, and told who holds the lock."""
    d = deployment()
    d.up(release(d))
    with lock.hold(d.folder / "lock", "switch", "wait"), pytest.raises(Locked, match=r"switch \(pid \d+\) is"):
        d.switch(release(d))


def test_a_frozen_instance_turns_live_red_and_green_again(deployment, release):
    """The watch sees the hang as what it is: no answer."""
    d = deployment()
    d.up(release(d))
    with watch({"live": (d.serving.url, "/healthz")}, interval_s=0.02, timeout_s=0.1) as probes:
        for act in (d.engine.freeze, d.engine.thaw):
            act(d.serving)
            count = len(probes.rows)
            while len(probes.rows) < count + 6:
                pass
    assert [row.ok for row in probes.rows][-1]
    assert any("timed out" in row.fact for row in probes.rows if not row.ok)


def test_wiring_that_holds_a_credential_is_refused(deployment, release):
    """The journal is no place for a key."""
    d = deployment()
    with pytest.raises(DeployError, match=r"service\.secrets"):
        d.up(release(d), environment={"KEY": "sk-" + "a" * 30})


def test_a_restarted_edge_serves_the_same_colour(deployment, release):
    """The route file is what a new edge begins with; a damaged one is refused instead of served as 404."""
    d = deployment()
    d.up(release(d))
    d.switch(release(d, name="second"))
    d.edge.server.stop()
    d.up(release(d))
    with urllib.request.urlopen(d.url) as answer:
        assert answer.headers["x-colour"] == "green"
    d.edge.server.stop()
    (d.edge.folder / "routes.yaml").write_text("resources: [")
    with pytest.raises(DeployError, match="is not a route file"):
        d.up(release(d))
    assert len(d.down()) == 1
