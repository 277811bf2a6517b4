"""The operator's commands, on a real deployment of a program that is not ours; each is safe to repeat."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from tailrace import profile
from tailrace.deploy import Deployment

SERVICE = {
    "command": [sys.executable, "-m", "http.server", "--bind", "{host}", "--directory", "runbook", "{port}"],
    "health": {"live": "/plan.yaml", "ready": "/plan.yaml", "startup": "/plan.yaml"},
    "smoke": [{"path": "/plan.yaml", "contains": "steps"}],
}


class Project:
    """A small project, and `tailrace` called in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "runbook" / "profiles").mkdir(parents=True)
        (root / "runbook" / "plan.yaml").write_text("steps: []\n")
        self.profile(REVISION="1")

    def profile(self, bake_s: float = 0.5, **environment: str) -> None:
        content = {"service": SERVICE | {"environment": environment}, "rollout": {"bake_s": bake_s, "settle_s": 0}}
        (self.root / "runbook" / "profiles" / "local.yaml").write_text(yaml.safe_dump(content))

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tailrace", *arguments]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=90, check=False)

    def json(self, *arguments: str, leaves_with: int = 0):
        done = self.call(*arguments, "--json")
        assert done.returncode == leaves_with, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    yield project
    project.call("down")


def test_deploy_brings_up_then_leaves_alone_then_switches(project):
    """The same release twice is one deploy; another setting is another release, and a switch."""
    first = project.json("deploy")
    assert (first["result"], first["serving"]) == ("brought up", "blue")
    started = {path.stem.partition("-")[0] for path in (project.root / ".tailrace/local/processes").glob("*.json")}
    assert started == {"blue", "edge"}, "this service asks for no provider"
    assert project.json("deploy")["result"] == "served already"
    project.profile(REVISION="2")
    second = project.json("deploy")
    assert (second["result"], second["serving"], second["url"]) == ("switched", "green", first["url"])
    assert second["release"] != first["release"]
    assert urllib.request.urlopen(first["url"] + "/plan.yaml", timeout=60).status == 200
    again = project.json("deploy", "--release", first["release"])
    assert (again["result"], again["release"]) == ("switched", first["release"])


def test_deploy_says_what_is_new_and_restart_and_force_begin_again(project):
    """One line each, with the names of what changed; the same source is told from what was compared."""
    first = project.json("deploy")["release"]
    same = project.call("deploy").stdout.splitlines()[-1]
    assert "; the same: its words and no file" in same
    assert "type: tailrace deploy --force" in same
    project.profile(REVISION="2")
    assert project.call("deploy").stdout.splitlines()[-1].endswith(" (REVISION changed)")
    restarted = project.json("restart")
    assert (restarted["state"], "from a new instance" in restarted["fact"]) == ("done", True)
    forced = project.json("deploy", "--force")
    assert (forced["result"], forced["release"][-2:], forced["changes"]) == (
        "switched", ".2", ["the same content once more"]
    )  # fmt: skip
    assert "(REVISION changed)" in project.call("history").stdout
    assert project.json("deploy", "--release", first)["result"] == "switched"
    assert project.call("restart", "--profile", "none").returncode == 3


def test_status_history_and_rollback_tell_the_same(project):
    """What serves, what happened, and the way back: once, and once more, which changes nothing."""
    first = project.json("deploy")["release"]
    project.profile(REVISION="2")
    second = project.json("deploy")["release"]
    assert project.json("rollback")["state"] == "done"
    assert project.json("rollback")["state"] == "nothing"
    status = project.json("status")
    (slot,) = status["slots"]
    assert (slot["release"], slot["weight"], slot["ready"]) == (first, 100, True)
    assert [(e["what"], e["release"], e["how"]) for e in project.json("history")] == [
        ("up", first, "done"),
        ("switch", second, "done"),
        ("rollback", first, "done"),
    ]
    assert first in project.call("status").stdout
    assert second in project.call("history").stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_deploy_that_is_cancelled_leaves_nothing_half_way(project, number):
    """SIGTERM and Ctrl-C take the switch back. Negative control: SIGKILL cannot, and `abort` does it then."""
    first = project.json("deploy")["release"]
    project.profile(bake_s=60, REVISION="2")
    command = [sys.executable, "-m", "tailrace", "deploy"]
    with subprocess.Popen(
        command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as going:
        try:
            assert going.stdout is not None
            assert any("switched" in line for line in going.stdout), "it ended before it was under way"
            going.send_signal(number)
            going.wait(120)
        finally:
            going.kill()
    assert going.returncode != 0
    if number is signal.SIGKILL:
        assert project.json("status")["unfinished"]
        project.json("abort")
    status = project.json("status")
    assert not status["unfinished"]
    assert [(slot["release"], slot["weight"]) for slot in status["slots"]] == [(first, 100)]


def test_verbs_without_anything_to_do_say_so(project):
    """Nothing serves, no switch is in progress: no error, and no act."""
    for verb in ("promote", "resume", "abort", "unpause", "rollback"):
        assert project.json(verb)["state"] == "nothing", verb
    assert (project.call("status").returncode, project.call("status", "--all").returncode) == (1, 0)


def test_pause_holds_and_unpause_lets_go(project):
    """Each is told once; the second time there is nothing to do."""
    project.json("deploy")
    assert [project.json("pause", "--hold-s", "5")["state"] for _ in range(2)] == ["done", "nothing"]
    assert project.json("status")["paused"] is True
    assert [project.json("unpause")["state"] for _ in range(2)] == ["done", "nothing"]


def test_maintenance_closes_the_door_and_opens_it_again(project):
    """The page is the operator's; `status` and `deploy` say that it is on."""
    url = project.json("deploy")["url"]
    (project.root / "page.txt").write_text("Back at noon.")
    on = ("maintenance", "on", "--page", "page.txt", "--retry-after", "30")
    assert [project.json(*on)["state"] for _ in range(2)] == ["done", "nothing"]
    with pytest.raises(urllib.error.HTTPError, match="503") as closed:
        urllib.request.urlopen(url + "/plan.yaml", timeout=60)
    assert (closed.value.read(), closed.value.headers["retry-after"]) == (b"Back at noon.", "30")
    assert re.search(r"blue serves at .* · maintenance since \d{4}-.*users get its page", project.call("status").stdout)
    assert "users get the maintenance page until `maintenance off`" in project.call("deploy").stdout
    assert [project.json("maintenance", "off")["state"] for _ in range(2)] == ["done", "nothing"]
    assert urllib.request.urlopen(url + "/plan.yaml", timeout=60).status == 200
    refused = project.call("maintenance", "on", "--page", "nothing.html")
    assert (refused.returncode, "nothing.html: the page cannot be read" in refused.stderr) == (1, True)
    assert project.call("maintenance", "off", "--page", "page.txt").returncode == 2


def test_the_edge_is_upgraded_and_one_that_died_is_back_with_deploy(project):
    """Without a deployment there is none; the door stays the same."""
    assert "it is not up" in project.call("upgrade-edge").stderr
    url = project.json("deploy")["url"]
    assert project.json("upgrade-edge")["fact"] == "process number 1 took over"
    Deployment.open(profile.load("local", project.root), project.root / ".tailrace").edge.server.stop()
    assert project.json("status", leaves_with=1)["edge_alive"] is False
    assert project.json("deploy")["result"] == "served already"
    assert urllib.request.urlopen(url + "/plan.yaml", timeout=60).status == 200


def test_a_release_that_was_never_deployed_is_refused(project):
    """With those that are known, and a non-zero exit."""
    known = project.json("deploy")["release"]
    done = project.call("deploy", "--release", "000000000000")
    assert done.returncode == 1
    assert known in done.stderr
    assert done.stdout == ""


def test_a_candidate_that_is_not_ready_leaves_everything_as_it_was(project):
    """Exit 1, one clear line, and the old release serves on."""
    first = project.json("deploy")
    broken = SERVICE | {"smoke": [{"path": "/plan.yaml", "contains": "no such text"}], "environment": {"REVISION": "3"}}
    (project.root / "runbook" / "profiles" / "local.yaml").write_text(
        yaml.safe_dump({"service": broken, "rollout": {"bake_s": 0.5, "settle_s": 0}})
    )
    done = project.call("deploy")
    assert done.returncode == 1
    assert "failed smoke test" in done.stderr
    assert project.json("status")["slots"][0]["release"] == first["release"]


def test_logs_shows_the_lines_of_what_is_meant(project):
    """Of the serving instance, of the one before it, of the edge; each with its path."""
    project.call("deploy")
    shown = project.call("logs", "-n", "1")
    assert shown.returncode == 0, shown.stderr
    assert "GET /plan.yaml" in shown.stdout
    assert len(shown.stdout.splitlines()) == 1
    assert "blue-2.log" in shown.stderr
    assert "there are logs of: blue-2, edge" in project.call("logs", "--previous").stderr
    project.profile(REVISION="2")
    project.call("deploy")
    assert "blue-2.log" in project.call("logs", "--previous").stderr
    assert project.call("logs", "--edge").returncode == 0
    assert project.call("logs", "--edge", "--previous").returncode == 2
    assert project.call("logs", "--provider").returncode == 1


def test_logs_follows_until_the_instance_is_stopped(project):
    """What is written meanwhile is shown."""
    project.call("deploy")
    command = [sys.executable, "-m", "tailrace", "logs", "--follow", "-n", "0"]
    with subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout.readline()  # the edge's health checks go on
        project.call("down")
        following.stdout.read()
        assert following.wait(60) == 0
