"""The operator's commands on a deployment, beside up, switch and down."""

import re
import threading
import time
import urllib.error
import urllib.request

import pytest

from tailrace.deploy import Deployment
from tailrace.deploy.edge import counters
from tailrace.errors import DeployError, EdgeRejected, RolledBack


def begin(d, release):
    """Switch in a thread; return it and what results of it, once the bake has begun."""
    baking, results = threading.Event(), []

    def run():
        try:
            results.append(d.switch(release, observe=lambda state, *_: baking.set() if state == "baking" else None))
        except DeployError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert baking.wait(20)
    return thread, results


def test_promote_ends_the_bake(deployment, release):
    """A switch that would bake for a minute is done at once; without a switch there is nothing to promote."""
    d = deployment(bake_s=60)
    d.up(release(d))
    assert d.promote().state == "nothing"
    thread, results = begin(d, release(d, name="second"))
    assert re.fullmatch(r"switch of test \(pid \d+\), at baking", d.status().under_way)
    assert d.promote().state == "asked"
    thread.join(10)
    assert results[0].to_colour == d.serving.colour == "green"
    assert d.status().under_way == ""


def test_rollback_takes_a_switch_under_way_back(deployment, release, load):
    """The old colour is warm, and no request is lost."""
    d = deployment(bake_s=60)
    d.up(release(d))
    with load(d.url) as traffic:
        thread, results = begin(d, release(d, name="second"))
        assert d.rollback().state == "asked"
        thread.join(10)
    assert isinstance(results[0], RolledBack)
    assert "by the operator" in str(results[0])
    assert (d.serving.colour, traffic.failed) == ("blue", 0)


def test_rollback_after_the_switch_goes_to_the_release_before(deployment, release):
    """It is a switch to the former release, once: a second one has nothing to do."""
    d = deployment()
    first = release(d, name="first")
    d.up(first)
    assert d.rollback().state == "nothing"
    d.switch(release(d, name="second"))
    assert d.rollback().state == "done"
    assert d.serving.release == first.id
    assert d.rollback().state == "nothing"
    assert [(entry.what, entry.how) for entry in d.history()] == [(v, "done") for v in ("up", "switch", "rollback")]


def test_pause_holds_requests_until_unpause(deployment, release, load):
    """Every request that results during the pause is answered after it."""
    d = deployment()
    d.up(release(d))
    with load(d.url) as traffic:
        time.sleep(0.3)
        assert d.pause(10).state == "done"
        paused_ns = time.perf_counter_ns()
        assert d.pause(10).state == "nothing"
        assert d.status().paused
        with pytest.raises(DeployError, match="unpause first"):
            d.switch(release(d, name="second"))
        time.sleep(0.5)
        answered = traffic.sent
        time.sleep(0.2)
        assert traffic.sent == answered
        assert d.unpause().state == "done"
        assert d.unpause().state == "nothing"
    held = [outcome for sent_ns, outcome, _ in traffic.answers if sent_ns > paused_ns]
    assert len(held) > 50
    assert traffic.failed == 0


def test_a_pause_is_bounded(deployment, release):
    """What waited for too long is told so."""
    d = deployment()
    d.up(release(d))
    d.pause(0.5)
    begun = time.monotonic()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(d.url, timeout=120)
    assert 0.2 < time.monotonic() - begun < 60


def test_a_pause_and_its_end_are_known_to_the_edge_when_the_command_returns(deployment, release):
    """Envoy reads the file a moment later; a request in between went on, or found no one after an `unpause`."""
    d = deployment()
    d.up(release(d))
    address = d.serving.address
    for _ in range(10):
        d.pause(5)
        assert counters.held(d.edge.layout.admin.url, "blue", address.port)
        d.unpause()
        assert not counters.held(d.edge.layout.admin.url, "blue", address.port)


def test_the_edge_is_replaced_without_a_request_lost(deployment, release, load):
    """Envoy's hot restart: the new process takes the sockets over, streams end on the old one, which has its time."""
    d = deployment(drain_timeout_s=2)
    d.up(release(d))
    with load(d.url) as traffic:
        time.sleep(0.3)
        assert d.upgrade_edge().fact == "process number 1 took over"
        with pytest.raises(EdgeRejected, match="is finishing; try again later"):
            d.upgrade_edge()
        d.switch(release(d, name="second"))
        time.sleep(2)
        assert d.upgrade_edge().fact == "process number 2 took over"
    assert traffic.failed == 0
    assert Deployment.open(d.profile, d.folder.parent).serving.colour == "green"
