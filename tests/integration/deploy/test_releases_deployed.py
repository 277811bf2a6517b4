"""What makes a deployment switch, and what a rollback brings back: files, secrets, smoke tests, the place itself."""

import contextlib
import json
import sys
import urllib.request

import pytest

from tailrace.deploy import Deployment, switch
from tailrace.errors import DeployError, NotReady
from tailrace.profile import Profile, ResourceLimits

PROGRAM = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from word import WORD

class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        known = {"/": WORD, "/own": "program-one", "/key": os.environ.get("MY_KEY", "none"), "/folder": os.getcwd()}
        known["/place"] = os.environ.get("PROVIDER", "nowhere")
        body = known.get(self.path, "").encode()
        self.send_response(200 if self.path in known else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
QUICK = {"bake_s": 0.1, "drain_timeout_s": 5, "stop_grace_s": 3, "warmup": {"min_requests": 0, "max_requests": 0}}


class Project:
    """A program of two files, and its deployment by a profile that may change."""

    def __init__(self, folder):
        self.folder, self.home, self.last = folder, folder / ".tailrace", {}
        (folder / "s.py").write_text(PROGRAM)
        self.word("one")
        self.profile()

    def word(self, word):
        (self.folder / "word.py").write_text(f"WORD = {word!r}\n")

    def profile(self, **service):
        health = {"live": "/own", "ready": "/own", "startup": "/own"}
        own = {"command": [sys.executable, "s.py", "{port}"], "health": health, "source": ["s.py", "word.py"]}
        content = {"name": "test", "service": {**own, **service}, "rollout": QUICK}
        self.deployment = Deployment.open(Profile.model_validate(content), self.home)

    def deploy(self, environment=None, **options):
        return self.deployment.deploy(self.deployment.build(self.folder), environment or {}, **options)

    def get(self, path="/"):
        return urllib.request.urlopen(self.deployment.url + path, timeout=60).read().decode()

    def written(self):
        """Everything that the deployment has written down."""
        return b"".join(path.read_bytes() for path in self.home.rglob("*") if path.is_file())


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "pearl-one")
    project = Project(tmp_path)
    yield project
    with contextlib.suppress(Exception):
        project.deployment.down()


def test_an_edit_is_a_switch_and_a_rollback_brings_back_the_code_of_before(project):
    """From the kept copy, in the folder of before where the words name the file; without an edit nothing happens."""
    first = project.deploy()
    same = project.deploy()
    assert (same.result, same.release) == ("served already", first.release)
    assert "the same: its words and 2 files (s.py, word.py), health checks; " in same.fact
    project.word("two")
    edited = project.deploy()
    assert (edited.result, edited.changes, project.get()) == ("switched", ("source changed: word.py",), "two")
    back = project.deployment.rollback()
    assert back.fact == (
        f"release {first.release} serves again, from a cold start; from its kept files: word.py has changed since"
    )
    assert (project.get(), project.deployment.serving.release) == ("one", first.release)
    assert project.deploy().changes == ("source changed: word.py",)
    assert project.get() == "two"
    project.word("one")
    project.deployment.rollback()
    assert (project.get(), project.get("/folder")) == ("one", str(project.folder))


@pytest.mark.deep
def test_a_rollback_to_code_that_is_not_kept_is_refused_before_anything_is_touched(project, monkeypatch):
    """Never the wrong code; what serves goes on."""
    monkeypatch.setattr("tailrace.deploy.source.MAX_KEPT_BYTES", 2)
    project.deploy()
    project.word("two")
    second = project.deploy()
    rollouts = len(project.deployment.history())
    with pytest.raises(DeployError, match=r"cannot be brought back\. Put the former file there again"):
        project.deployment.rollback()
    assert (project.deployment.serving.release, project.get()) == (second.release, "two")
    assert len(project.deployment.history()) == rollouts


@pytest.mark.deep
def test_a_forced_deploy_is_another_edition_and_a_restart_is_none(project):
    """Both are whole switches; a rollback tells the editions apart, and goes past a restart."""
    first = project.deploy()
    with pytest.raises(DeployError, match="nothing serves that could be restarted"):
        Deployment.open(project.deployment.profile, project.folder / "elsewhere").restart()
    forced = project.deploy(force=True)
    assert (forced.result, forced.release) == ("switched", f"{first.release}.2")
    assert project.deploy().result == "served already"
    assert project.deploy(force=True).release == f"{first.release}.3"
    before = project.deployment.serving
    restarted = project.deployment.restart()
    after = project.deployment.serving
    assert (restarted.state, after.release) == ("done", before.release)
    assert after.handle != before.handle
    assert project.deployment.rollback().state == "done"
    assert project.deployment.serving.release == forced.release
    assert [entry.what for entry in project.deployment.history()] == ["up", "switch", "switch", "restart", "rollback"]


def test_a_restart_keeps_the_code_that_serves(project):
    """An edit is for `deploy`; the restart says where the code comes from."""
    first = project.deploy()
    project.word("two")
    restarted = project.deployment.restart()
    assert "from its kept files: word.py has changed since; `deploy` takes what is there" in restarted.fact
    assert (project.get(), project.deployment.serving.release) == ("one", first.release)


def test_a_rotated_secret_is_a_switch_and_its_value_is_nowhere(project, monkeypatch):
    """By deploy or by restart; the same value is none. Journal and history have its name only."""
    project.profile(secrets=["MY_KEY"])
    first = project.deploy()
    assert project.deploy().result == "served already"
    monkeypatch.setenv("MY_KEY", "pearl-two")
    rotated = project.deploy()
    assert (rotated.changes, project.get("/key")) == (("MY_KEY was rotated",), "pearl-two")
    monkeypatch.setenv("MY_KEY", "pearl-three")
    assert "; MY_KEY was rotated" in project.deployment.restart().fact
    assert project.get("/key") == "pearl-three"
    assert [entry.changes for entry in project.deployment.history()][1:] == [("MY_KEY was rotated",)] * 2
    assert len({first.release, rotated.release, project.deployment.serving.release}) == 3
    assert b"pearl" not in project.written()
    assert b"MY_KEY was rotated" in project.written()


@pytest.mark.deep
def test_a_rollback_says_what_it_knows_of_a_rotated_secret(project, monkeypatch):
    """A former value is kept nowhere: the release before gets that of today; alone, it is nothing to go back to."""
    project.profile(secrets=["MY_KEY"])
    first = project.deploy()
    monkeypatch.setenv("MY_KEY", "pearl-two")
    project.deploy()
    alone = project.deployment.rollback()
    assert (alone.state, "only in the value of MY_KEY" in alone.fact) == ("nothing", True)
    project.word("two")
    project.deploy()
    monkeypatch.setenv("MY_KEY", "pearl-three")
    back = project.deployment.rollback()
    assert "with the value of MY_KEY of today" in back.fact
    assert (project.get(), project.get("/key")) == ("one", "pearl-three")
    assert project.deployment.serving.release != first.release
    monkeypatch.delenv("MY_KEY")
    for verb in (project.deploy, project.deployment.restart):
        with pytest.raises(DeployError, match="MY_KEY is not set here, and the release before got a value"):
            verb()
    project.profile()
    assert project.deploy().changes[-1] == "no longer gets MY_KEY"
    assert project.get("/key") == "none"


@pytest.mark.deep
def test_a_release_asks_for_secrets_and_provider_by_its_own_names(project, monkeypatch):
    """A rollback of a renamed variable finds the former name again, with the value of today where there is one."""
    monkeypatch.setenv("OLD_KEY", "pearl")
    project.profile(secrets=["MY_KEY"])
    project.deploy({"PROVIDER": "a", "MOVED": "here"})
    project.profile(secrets=["OLD_KEY"])
    project.deploy({"PLACE": "b", "MOVED": "there"})
    assert (project.get("/key"), project.get("/place")) == ("none", "nowhere")
    project.deployment.rollback()
    assert (project.get("/key"), project.get("/place")) == ("pearl-one", "a")
    begun = [entry.data["environment"] for entry in project.deployment.journal.entries() if entry.kind == "begin"]
    assert begun[-1] == {"PROVIDER": "a", "MOVED": "there"}


@pytest.mark.deep
def test_another_place_of_the_provider_is_a_new_instance_of_the_same_release(project):
    """It is no part of the release, and no reason to go on with the former one."""
    first = project.deploy({"PROVIDER": "a"})
    assert project.deploy({"PROVIDER": "a"}).result == "served already"
    moved = project.deploy({"PROVIDER": "b"})
    assert (moved.result, moved.release, moved.changes) == ("switched", first.release, ("PROVIDER changed",))
    assert project.get("/place") == "b"


def test_a_changed_smoke_test_of_the_same_release_is_asked_at_once_and_kept(project):
    """One that fails is refused and not kept: a rollback would fail by it."""
    first = project.deploy()
    project.profile(smoke=[{"path": "/place"}])
    same = project.deploy()
    assert same.result == "served already"
    assert same.fact.startswith("service.smoke changed: 1 smoke tests answered as expected, and a rollback")
    project.profile(smoke=[{"path": "/none"}])
    with pytest.raises(NotReady, match="failed smoke test 1 of 1, GET /none"):
        project.deploy()
    kept = project.deployment.releases.find(first.release)
    assert [probe.path for probe in kept.acceptance.smoke] == ["/place"]


@pytest.mark.deep
def test_a_release_whose_file_was_damaged_is_written_again_by_deploy(project):
    """What serves is known by its label; a rollback says what is wrong, or what a file of an older tailrace lacks."""
    first = project.deploy()
    file = project.deployment.releases.folder / f"{first.release}.json"
    file.write_text("{")
    assert project.deploy().result == "served already"
    assert json.loads(file.read_text())["id"] == first.release
    project.word("two")
    project.deploy()
    whole = json.loads(file.read_text())
    file.write_text("{")
    with pytest.raises(DeployError, match="is damaged"):
        project.deployment.rollback()
    former = {name: whole[name] for name in ("id", "kind", "build", "command", "environment", "ours")}
    file.write_text(json.dumps({**former, "facts": {"directory": str(project.folder)}}))
    assert "from what is there: its files were not kept then" in project.deployment.rollback().fact


@pytest.mark.deep
def test_resume_starts_no_instance_with_a_secret_that_was_rotated_meanwhile(project, monkeypatch):
    """It would run under the id of another value; with the value of then it goes on."""
    project.profile(secrets=["MY_KEY"])
    project.deploy()
    project.word("two")
    release = project.deployment.build(project.folder)

    def die(rollout):
        raise SystemExit  # as a controller that is killed after the first line of its journal

    monkeypatch.setattr("tailrace.deploy.switch.run", die)
    with pytest.raises(SystemExit):
        project.deployment.deploy(release, {})
    monkeypatch.undo()
    monkeypatch.setenv("MY_KEY", "pearl-two")
    with pytest.raises(DeployError, match="were rotated, or are not set here"):
        project.deployment.resume()
    monkeypatch.setenv("MY_KEY", "pearl-one")
    assert project.deployment.resume().state == "done"
    assert (project.get(), project.get("/key")) == ("two", "pearl-one")


@pytest.mark.deep
def test_other_limits_are_a_new_instance_of_the_same_release(project):
    """They belong to the place that an instance gets; a rollback gives those of today."""
    first = project.deploy()
    changed = project.deployment.profile.model_copy(update={"limits": ResourceLimits(memory_mb=256)})
    project.deployment = Deployment.open(changed, project.home)
    assert (project.deploy().changes, project.deploy().result) == (("limits changed",), "served already")
    assert project.deployment.serving.release == first.release


@pytest.mark.deep
def test_each_colour_tells_its_metrics_where_its_release_says(project):
    """The page moved with the new release: the gate reads the old one where it was."""
    project.profile(metrics="/metrics")
    project.deploy()
    project.word("two")
    project.profile(metrics="/stats", metric_names={"ttft": ["first_token"]})
    pages = []

    def look(rollout):
        pages[:] = [rollout.old_page, rollout.new_page]
        return "looked"

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(switch.ACTS, "warm", look)
        project.deploy()
    assert [page.url.rpartition("/")[2] for page in pages] == ["metrics", "stats"]
    assert [dict(page.names) for page in pages] == [{}, {"ttft": ("first_token",)}]
