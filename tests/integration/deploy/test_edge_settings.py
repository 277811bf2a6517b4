"""A setting of the edge that was changed in the profile is applied while it runs, and no request is lost."""

import json
import threading
import time
import urllib.error
import urllib.request

import pytest

from tailrace.deploy import Deployment
from tailrace.deploy.edge import listeners
from tailrace.errors import DeployError, EdgeRejected
from tailrace.host import ports, waiting
from tailrace.host.http import exchange


def reopened(d, **edge):
    """Return the deployment as another process opens it, with other settings of the edge in the profile."""
    settings = d.profile.edge.model_copy(update=edge)
    return Deployment.open(d.profile.model_copy(update={"edge": settings}), d.folder.parent)


class LongStream(threading.Thread):
    """A user who reads a stream of so many seconds to its end."""

    def __init__(self, url, seconds):
        super().__init__()
        self.url, self.body, self.begun = f"{url}/stream?s={seconds}", b"", threading.Event()
        self.start()
        assert self.begun.wait(60)

    def run(self):
        with urllib.request.urlopen(self.url, timeout=60) as answer:
            self.body = answer.read(1)
            self.begun.set()
            self.body += answer.read()

    @property
    def is_whole(self):
        self.join()
        return self.body.endswith(b"data: [DONE]\n\n")


def test_changed_settings_are_applied_at_deploy_under_load(deployment, release, load):
    """Those of listeners and of clusters: status shows what differs, deploy what it changed, and no stream is cut."""
    d = deployment()
    built = release(d)
    d.up(built)
    changed = reopened(d, stream_idle_s=1.5, reuse_connections=False)
    idle_s = d.edge.layout.settings.stream_idle_s
    facts = [
        f"edge.stream_idle_s is {idle_s:g}, in the profile 1.5",
        "edge.reuse_connections is True, in the profile False",
    ]
    assert list(changed.status().drift) == facts
    with load(d.url) as traffic:
        stream = LongStream(d.url, 4)
        done = changed.deploy(built, {})
        assert stream.is_alive()
        time.sleep(0.5)
    assert done.result == "served already"
    applied = f"applied: edge.stream_idle_s 1.5 (was {idle_s:g}), edge.reuse_connections False (was True)"
    assert done.fact.startswith(f"{applied}; the same: ")
    assert (traffic.failed, stream.is_whole) == (0, True)
    assert changed.status().drift == ()
    # Envoy goes by it: a stream that is silent for longer is ended.
    with pytest.raises((OSError, urllib.error.HTTPError)):
        urllib.request.urlopen(f"{d.url}/slow?s=10", timeout=60).read()


def test_a_new_port_answers_before_the_former_one_is_closed(deployment, release, load):
    """Both answer for as long as the former one is used, and the stream that began there ends there."""
    d = deployment(drain_timeout_s=60)
    built = release(d)
    d.up(built)
    former = d.url
    moved = reopened(d, port=ports.free())
    door = f"http://127.0.0.1:{moved.profile.edge.port}"
    results = []
    with load(former, streams=0) as traffic:
        stream = LongStream(former, 6)
        deploys = threading.Thread(target=lambda: results.append(moved.deploy(built, {})))
        deploys.start()
        assert waiting.until(lambda: answers(door), 60)
        with load(door, streams=0) as elsewhere:
            time.sleep(0.5)
        assert traffic.outcomes.total() > 0
    deploys.join()
    assert (traffic.failed, elsewhere.failed, results[0].result) == (0, 0, "served already")
    assert not answers(former)
    assert stream.is_whole
    assert Deployment.open(moved.profile, moved.folder.parent).url == moved.url == door
    assert moved.upgrade_edge().state == "done"
    assert answers(door)


def answers(url):
    try:
        return exchange(url, timeout_s=2).status == 200
    except OSError:
        return False


def test_a_port_that_is_taken_is_refused(deployment, release):
    """Nothing is changed: the negative control of the move."""
    d = deployment()
    built = release(d)
    d.up(built)
    taken = reopened(d, port=int(d.serving.address.port))
    with pytest.raises(EdgeRejected, match="is taken by another program"):
        taken.deploy(built, {})
    assert answers(d.url)
    assert taken.status().drift == (
        f"edge.port is {d.edge.layout.ingress.port}, in the profile {taken.profile.edge.port}",
    )


@pytest.mark.deep
def test_listeners_that_the_edge_rejects_are_taken_back(deployment, release, monkeypatch, load):
    """Its reason is in the message, the files are as before, and nobody notices."""
    d = deployment()
    built = release(d)
    d.up(built)
    whole = listeners.listener
    monkeypatch.setattr(listeners, "listener", lambda name, counted_as, *rest: whole(name, "", *rest))
    before = d.edge.configuration.path("listeners").read_text()
    with load(d.url, streams=0) as traffic:
        monkeypatch.setattr("tailrace.deploy.edge.settings.TAKE_TIMEOUT_S", 1.0)
        with pytest.raises(EdgeRejected, match=r"did not take its listeners within 1 s: (?s:.*)StatPrefix"):
            reopened(d, max_header_kb=32).deploy(built, {})
        monkeypatch.undo()
        assert reopened(d).deploy(built, {}).result == "served already"
    assert traffic.failed == 0
    assert d.edge.configuration.path("listeners").read_text() == before


@pytest.mark.deep
def test_a_damaged_file_of_the_edge_is_mended_by_resume(deployment, release, load):
    """The running edge keeps what it had; a deploy is refused, and says so."""
    d = deployment()
    d.up(release(d))
    for name in ("clusters", "listeners", "blue"):
        with load(d.url, streams=0) as traffic:
            damaged = d.edge.folder / "damaged"
            damaged.write_text("resources: [")
            damaged.rename(d.edge.configuration.path(name))
            assert f"{name}.yaml is not a file of the edge" in d.status().damaged
            with pytest.raises(DeployError, match="run `resume`, which writes it anew"):
                d.switch(release(d, name="second"))
            assert d.resume().fact == "a file of the edge was damaged; all are written anew"
        assert traffic.failed == 0
        assert (d.status().damaged, d.edge.healthy("blue", d.serving.address)) == ("", True)


@pytest.mark.deep
def test_an_edge_with_nothing_healthy_behind_it_is_not_replaced(deployment, release):
    """No verb reports success then: not `upgrade-edge`, and not a deploy of what serves already."""
    d = deployment(start_timeout_s=2)
    built = release(d)
    d.up(built)
    d.engine.freeze(d.serving)
    try:
        assert waiting.until(lambda: not d.edge.healthy("blue", d.serving.address), 60)
        with pytest.raises(EdgeRejected, match=r"is not healthy: GET /healthz gets no answer(?s:.*)was not replaced"):
            d.upgrade_edge()
        with pytest.raises(EdgeRejected, match=r"is not healthy at the edge after 2 s: GET /healthz gets no answer"):
            d.deploy(built, {})
    finally:
        d.engine.thaw(d.serving)
    assert waiting.until(lambda: d.edge.healthy("blue", d.serving.address), 60)
    assert d.deploy(built, {}).result == "served already"
    assert d.upgrade_edge().state == "done"


@pytest.mark.deep
def test_an_edge_that_does_not_run_starts_with_the_settings_of_the_profile(deployment, release):
    """Nobody is connected who could lose something."""
    d = deployment()
    built = release(d)
    d.up(built)
    d.edge.server.stop()
    moved = reopened(d, port=ports.free(), max_header_kb=32)
    assert "applied" not in moved.deploy(built, {}).fact
    assert answers(f"http://127.0.0.1:{moved.profile.edge.port}")
    assert json.loads((d.folder / "layout.json").read_text())["settings"]["max_header_kb"] == 32
    assert moved.status().drift == ()
