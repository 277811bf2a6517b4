"""A first deploy proves that its release lives, or leaves nothing behind; `status` believes answers only."""

import os
import signal
import socket
import urllib.error
import urllib.request

import psutil
import pytest

from tailrace import profile as profiles
from tailrace.deploy import Deployment, inventory, reachability
from tailrace.errors import DeployError, RolledBack, StartFailed
from tailrace.host import processes, waiting
from tailrace.host.http import exchange


def envoy(d):
    return psutil.Process(processes.find(d.folder / "processes", "edge").pid).children()[0]


def everything(d):
    """Return the processes of a deployment that run, whoever started them."""
    return [process.name for process in processes.recorded(d.folder / "processes") if process.alive]


@pytest.mark.fault(
    "first deploy of a release that dies after its start",
    "nothing: no address is open",
    "an error with the last lines of its log, and what was taken down again; `status`: nothing serves, exit 1",
    "fix the release, deploy again",
)
def test_a_first_deploy_that_dies_is_refused_and_leaves_nothing(deployment, release):
    """It answers for a second, and is gone before it has lived for as long as it has to."""
    d = deployment(settle_s=60)
    d.engine.run_beside(d.profile.name, "provider", ["{python}", "-m", "http.server", "--bind", "{host}", "{port}"])
    with pytest.raises(RolledBack, match=r"(?s)died under traffic.*Taken down again.* edge at .*provider \(pid"):
        d.deploy(release(d, dies_after_s=1), {})
    assert (d.is_up, d.instances, everything(d)) == (False, [], [])
    assert d.status().serving == ""
    assert [entry.how for entry in d.history()] == ["rolled back"]


def test_a_first_deploy_that_lives_is_brought_up(deployment, release):
    """Negative control: a second is enough for one that has to live for half a second."""
    d = deployment(settle_s=0.5)
    assert d.deploy(release(d, dies_after_s=600), {}).result == "brought up"
    assert d.status().serving == "blue"


@pytest.mark.deep
def test_a_first_deploy_that_answers_nobody_is_refused(deployment, release):
    """It passes its smoke tests, and hangs from then on: without users no gate would see it."""
    d = deployment(ready_timeout_s=3)

    def freeze(state: str, *_: object) -> None:
        if state == "baking":
            d.engine.freeze(d.instances[0])

    with pytest.raises(RolledBack, match=r"serves nobody: .*no answer within 2\.5 s"):
        d.up(release(d), observe=freeze)
    assert everything(d) == []


@pytest.mark.deep
def test_an_edge_that_was_up_before_stays_when_a_release_fails(deployment, release):
    """What this deploy did not start is not its to take down; an address stays with its deployment."""
    d = deployment()
    d.up(release(d))
    url = d.url
    d.engine.stop(d.serving, 1)
    with pytest.raises(StartFailed):
        d.deploy(release(d, nonsense=1), {})
    assert (d.is_up, d.url, d.edge.server.alive()) == (True, url, True)


@pytest.mark.fault(
    "the port of the edge is taken",
    "what has the port",
    "an error that names the port; nothing is left running",
    "free the port, or set another `edge.port`",
)
def test_an_edge_whose_port_is_taken_leaves_nothing(deployment, release):
    """Another program listens there."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        d = deployment(edge={"port": port})
        with pytest.raises(StartFailed, match=f"{port} is taken by another program"):
            d.deploy(release(d), {})
        assert (d.is_up, everything(d)) == (False, [])
    assert d.deploy(release(d), {}).result == "brought up"


@pytest.mark.fault(
    "the edge hangs",
    "nothing: requests wait",
    "`status`: the edge is there and does not answer, exit 1",
    "`deploy`: the edge is started anew on its files: same address, same colour",
)
def test_an_edge_that_hangs_is_told_and_deploy_starts_it_anew(deployment, release, monkeypatch):
    """Its process is alive, and so is its supervisor: only a question shows that it serves nobody."""
    monkeypatch.setattr(reachability, "PATIENCE_S", 1.0)
    d = deployment()
    built = release(d)
    d.up(built)
    before = envoy(d).pid
    os.kill(before, signal.SIGSTOP)
    now = d.status()
    assert (now.serving, now.edge_alive, "it hangs" in now.answer) == ("", True, True)
    done = d.deploy(built, {})
    assert (done.result, "it hangs; it was started anew on its files" in done.fact) == ("served already", True)
    assert (d.status().serving, envoy(d).pid != before) == ("blue", True)
    assert urllib.request.urlopen(d.url, timeout=60).status == 200


@pytest.mark.fault(
    "the edge dies and its supervisor hangs",
    "nothing: connections are refused",
    "`status`: the front door takes no connection, exit 1",
    "`deploy`: the edge is started anew on its files: same address, same colour",
)
@pytest.mark.deep
def test_an_edge_that_died_under_a_hung_supervisor_is_started_anew(deployment, release, monkeypatch):
    """The record of the edge names a process that lives."""
    monkeypatch.setattr(reachability, "PATIENCE_S", 1.0)
    d = deployment()
    built = release(d)
    d.up(built)
    child = envoy(d)
    os.kill(child.ppid(), signal.SIGSTOP)
    child.kill()
    assert waiting.until(lambda: not d.status().serving, 60)
    assert "takes no connection" in d.status().answer
    assert d.deploy(built, {}).result == "served already"
    assert d.status().serving == "blue"


@pytest.mark.deep
def test_drained_listeners_do_not_serve(deployment, release):
    """The edge answers its admin, and nobody else."""
    d = deployment()
    d.up(release(d))
    assert d.status().serving == "blue"
    assert exchange(f"{d.edge.layout.admin.url}/drain_listeners", "POST").status == 200
    assert waiting.until(lambda: not d.status().serving, 60)
    assert "takes no connection" in d.status().answer


@pytest.mark.fault(
    "the serving instance hangs",
    "the hung instance: requests wait, until they are too late for their clients",
    "`status`: its live path got no answer, exit 1; `deploy` of the same release says so",
    "look at its log; `restart`, or deploy another release",
)
@pytest.mark.deep
def test_an_instance_that_hangs_serves_nobody_and_deploy_says_so(deployment, release):
    """It runs, and the routes name it. Negative control: it answers again."""
    d = deployment(start_timeout_s=8)
    built = release(d)
    d.up(built)
    serving = d.serving
    d.engine.freeze(serving)
    try:
        assert (d.status().serving, d.status().slot("blue").alive) == ("", True)
        with pytest.raises(DeployError, match=r"is not healthy at the edge after"):
            d.deploy(built, {})
    finally:
        d.engine.thaw(serving)
    assert waiting.until(lambda: d.status().serving, 60) == "blue"
    assert d.deploy(built, {}).result == "served already"
    assert d.counters().requests == 0  # questions of ours are no requests of users


@pytest.mark.deep
def test_status_tells_what_users_got_since_the_edge_counts(deployment, release):
    """By the instances and by the edge."""
    d = deployment()
    d.up(release(d))
    urllib.request.urlopen(d.url, timeout=60)
    with pytest.raises(urllib.error.HTTPError, match="500"):
        urllib.request.urlopen(d.url + "/error", timeout=60)
    d.edge.point("blue", None)
    answered = []

    def refused():
        try:
            answered.append(urllib.request.urlopen(d.url, timeout=60).status)
        except urllib.error.HTTPError as error:
            return error.code == 503
        return False

    assert waiting.until(refused, 60)  # the edge reads the file a moment later
    now = d.status()
    assert (now.requests, now.failed, now.refused) == (3 + len(answered), 2, {"503: no healthy upstream, of blue": 1})


def test_all_deployments_are_listed_whatever_their_profiles(deployment, release, tmp_path):
    """One serves without a profile, one is down, one cannot be read: each is a line, and none is fatal."""
    d = deployment()
    d.up(release(d))
    (tmp_path / "down").mkdir()
    (tmp_path / "down" / "journal.jsonl").touch()
    (tmp_path / "Broken").mkdir()
    (tmp_path / "Broken" / "journal.jsonl").write_text("{")
    (tmp_path / "images").mkdir()  # no deployment
    found = {one.name: one for one in inventory.listed(tmp_path, tmp_path)}
    assert {name: (one.state, one.exit_status) for name, one in found.items()} == {
        "Broken": ("unreadable", 1),
        "down": ("down", 0),
        "test": ("serves", 0),
    }
    assert found["test"].ports[0] == d.edge.layout.ingress.port
    assert "without its profile" in found["test"].fact
    envoy(d).suspend()
    hung = next(one for one in inventory.listed(tmp_path, tmp_path) if one.name == "test")
    assert (hung.state, hung.exit_status) == ("does not serve", 1)
    envoy(d).resume()


@pytest.mark.deep
def test_a_deployment_with_its_profile_is_listed_by_it(deployment, release, tmp_path):
    """Negative control: nothing is said of a profile that is there."""
    d = deployment()
    d.up(release(d))
    folder = tmp_path / "project" / "runbook" / "profiles"
    folder.mkdir(parents=True)
    (folder / "test.yaml").write_text("service: {command: [sleep, '1']}\n")
    root = folder.parents[1]
    assert Deployment.open(profiles.load("test", root), tmp_path).is_up
    assert [one.fact for one in inventory.listed(root, tmp_path) if one.name == "test"] == [""]
