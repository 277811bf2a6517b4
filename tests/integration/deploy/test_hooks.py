"""Hooks: commands of the project at fixed points of a rollout, and what their failure means."""

import json
import threading

import pytest

from tailrace.errors import DeployError, NotReady, RolledBack
from tailrace.host import processes, waiting

TELL = """
import json, os, sys
with open({told!r}, "a") as file:
    found = {{k: v for k, v in os.environ.items() if k.startswith(("TAILRACE_", "TR_"))}}
    file.write(json.dumps({{**found, "cwd": os.getcwd()}}) + "\\n")
print("said by", os.environ["TAILRACE_HOOK"], flush=True)
{then}
"""


class Told:
    """Makes hooks that write down what they were told, and reads that."""

    def __init__(self, path):
        self.path = path

    def hook(self, then="", **options):
        return {"command": ["{python}", "-c", TELL.format(told=str(self.path), then=then)], **options}

    @property
    def calls(self):
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines]

    @property
    def hooks(self):
        return [call["TAILRACE_HOOK"] for call in self.calls]


@pytest.fixture
def told(tmp_path):
    return Told(tmp_path / "told.jsonl")


def facts(states):
    return {state: fact for state, _, fact in states}


def test_hooks_run_at_their_points_and_know_of_the_rollout(deployment, release, told, monkeypatch):
    """In the root of the project, with the names of releases and doors, and of the environment only what is named."""
    monkeypatch.setenv("TR_PIN", "pa55")
    monkeypatch.setenv("TR_OTHER", "not handed on")
    d = deployment(hooks={"before_deploy": told.hook(secrets=["TR_PIN"]), "after_switch": told.hook()})
    first, second = release(d, name="first"), release(d, name="second")
    d.up(first)
    switched = d.switch(second)
    assert told.hooks == ["before_deploy", "after_switch"] * 2
    before, after = told.calls[2:]
    assert before["TR_PIN"] == "pa55"
    assert "TR_PIN" not in after
    assert "TR_OTHER" not in before
    assert before["cwd"] == str(d.folder.parent.parent)
    expected = {
        "TAILRACE_DEPLOYMENT": "test", "TAILRACE_VERB": "switch", "TAILRACE_RELEASE": second.id,
        "TAILRACE_PREVIOUS": first.id, "TAILRACE_COLOUR": "green", "TAILRACE_URL": d.url,
        "TAILRACE_PREVIEW_URL": d.edge.preview_url("green"), "TAILRACE_ATTEMPT": "1",
    }  # fmt: skip
    assert {name: after[name] for name in expected} == expected
    assert facts(switched.states)["prepared"].startswith("hook before_deploy (")
    (log,) = d.folder.glob(f"hooks/{after['TAILRACE_ROLLOUT']}-after_switch.log")
    assert log.read_text() == "said by after_switch\n"
    assert "pa55" not in d.journal.path.read_text()


def test_a_failure_before_the_deploy_touches_nothing(deployment, release, told, load):
    """Nothing is started, and the error holds status, log and last lines; an ignored one is only told."""
    fails = told.hook("print('no room'); sys.exit(3)")
    d = deployment(hooks={"before_deploy": fails, "on_rollback": told.hook()})
    with pytest.raises(
        NotReady, match=r"(?s)before_deploy .* ended with status 3 .*\.log:\n.*no room\nTraffic was not"
    ):
        d.up(release(d))
    assert d.instances == []
    assert told.hooks == ["before_deploy", "on_rollback"]
    assert "status 3" in told.calls[1]["TAILRACE_WHY"]
    d.down()
    d = deployment(hooks={"before_deploy": {**fails, "on_failure": "ignore"}})
    d.up(release(d))
    (fact,) = [e.fact for e in d.journal.entries() if (e.kind, e.state) == ("reached", "prepared")][-1:]
    assert "ended with status 3" in fact
    assert fact.endswith("Ignored, as its on_failure says")
    assert d.serving


def test_a_failure_after_the_switch_goes_back_to_the_old_colour_which_is_warm(deployment, release, told, load):
    """Before the drain, and without a lost request; the hook saw the new colour at the front door."""
    look = "import urllib.request as u\nprint(u.urlopen(os.environ['TAILRACE_URL']).headers['x-colour']); sys.exit(1)"
    d = deployment()  # the first deploy has no hooks: there would be nothing to go back to
    with_hooks = deployment(hooks={"after_switch": told.hook(look), "on_rollback": told.hook()})
    d.up(release(d, name="first"))
    serving = d.serving
    with (
        load(d.url) as traffic,
        pytest.raises(RolledBack, match=r"(?s)hook after_switch .* ended with status 1.*green"),
    ):
        with_hooks.switch(release(d, name="second"))
    assert traffic.failed == 0
    assert d.serving == serving
    assert told.hooks == ["after_switch", "on_rollback"]
    assert [i.colour for i in d.instances] == ["blue"]


def test_the_gate_watches_while_a_hook_runs(deployment, release, told, load):
    """A colour that fails under a long hook is not kept until the hook has ended; the hook is ended."""
    d = deployment()
    d.up(release(d))
    with_hooks = deployment(hooks={"after_switch": told.hook("import time; time.sleep(600)")}, smoke=())
    with load(d.url), pytest.raises(RolledBack, match="requests failed"):
        with_hooks.switch(release(d, fail_every=2))
    assert d.serving.colour == "blue"
    assert told.hooks == ["after_switch"]
    assert [p.name for p in processes.recorded(d.folder / "hooks") if p.alive] == []


@pytest.mark.deep
def test_a_hook_that_does_not_end_is_ended(deployment, release, told):
    """With its children, at its time-out; that is a failure like any other."""
    hang = told.hook("import subprocess; subprocess.run(['sleep', '600'])", timeout_s=1)
    d = deployment(hooks={"before_deploy": hang})
    with pytest.raises(NotReady, match=r"did not end, and was ended; limit 1 s\. .*\.log:\nsaid by before_deploy"):
        d.up(release(d))
    assert [p.name for p in processes.recorded(d.folder / "hooks") if p.alive] == []


@pytest.mark.fault(
    "a hook fails while rolling back",
    "the old colour",
    "its status and last lines, among the states and in the journal",
    "nothing for the rollout; what the hook should have done",
)
@pytest.mark.parametrize(
    "hook",
    [
        pytest.param({"command": ["{python}", "-c", "raise SystemExit(7)"]}, id="fails"),
        pytest.param({"command": ["./not-there"]}, id="missing", marks=pytest.mark.deep),
        pytest.param({"command": ["true"], "secrets": ["TR_UNSET"]}, id="secret", marks=pytest.mark.deep),
    ],
)
def test_no_failure_stops_a_rollback(deployment, release, hook):
    """It is told in the journal and to who watches; the rollback ends as it would have."""
    d = deployment(smoke=({"path": "/", "contains": "good"},), hooks={"on_rollback": hook})
    d.up(release(d, name="good"))
    seen = {}
    with pytest.raises(NotReady, match="smoke test"):
        d.switch(release(d, name="bad"), observe=lambda state, t_ns, fact: seen.update({state: fact}))
    assert "hook on_rollback" in seen["on_rollback"]
    assert any(word in seen["on_rollback"] for word in ("status 7", "cannot be started in", "is not set where"))
    assert [e.state for e in d.journal.entries()][-2:] == ["on_rollback", "rolled back"]
    assert d.journal.unfinished() == []
    assert d.serving.colour == "blue"


@pytest.mark.deep
def test_an_operator_ends_a_hook_by_a_rollback(deployment, release, told):
    """He need not wait for it, nor does `down` leave it running."""
    d = deployment(hooks={"before_deploy": told.hook("import time; time.sleep(600)", timeout_s=900)})
    results = []

    def up():
        try:
            d.up(release(d))
        except DeployError as error:
            results.append(error)

    thread = threading.Thread(target=up)
    thread.start()
    assert waiting.until(lambda: told.calls, 60)
    assert d.rollback().state == "asked"
    thread.join(60)
    assert isinstance(results[0], RolledBack)
    assert "hook before_deploy was ended" in str(results[0])


@pytest.mark.fault(
    "controller killed in a hook",
    "what the route file says: one proven colour",
    "Unfinished at the next deploy",
    "`resume`, which runs the hook again and says so",
)
@pytest.mark.parametrize(
    ("point", "hooks", "state"),
    [
        pytest.param("announced:intent:after", ["after_switch"], "announced", marks=pytest.mark.deep),
        pytest.param("announced:reached:before", ["after_switch"] * 2, "announced"),
        pytest.param(
            "prepared:reached:before", ["before_deploy"] * 2 + ["after_switch"], "prepared", marks=pytest.mark.deep
        ),
        pytest.param("prepared:reached:after", ["before_deploy", "after_switch"], "prepared", marks=pytest.mark.deep),
    ],
)
def test_a_hook_in_which_the_controller_died_is_run_again_and_says_so(
    deployment, release, told, killed, point, hooks, state
):
    """At least once: not when it was known to have run; it can tell by TAILRACE_ATTEMPT."""
    d = deployment(bake_s=0.1)
    d.up(release(d, name="first"))
    with_hooks = deployment(hooks={"before_deploy": told.hook(), "after_switch": told.hook()}, bake_s=0.1, smoke=())
    killed(with_hooks, release(d, name="second"), point)
    resumed = with_hooks.resume()
    assert told.hooks[-len(hooks) :] == hooks
    twice = hooks.count(hooks[0]) == 2 or point == "announced:intent:after"
    assert ("run 2 times because its controller died" in facts(resumed.states)[state]) == twice
    assert [call["TAILRACE_ATTEMPT"] for call in told.calls].count("2") == twice
    assert d.serving.colour == "green"


@pytest.mark.deep
def test_a_rollback_hook_is_not_run_again_once_it_was_known_to_have_run(deployment, release, told, killed):
    """The negative control is a controller that died before it knew."""
    d = deployment()
    d.up(release(d, name="first"))
    with_hooks = deployment(smoke=({"path": "/", "contains": "good"},), hooks={"on_rollback": told.hook()})
    for point, calls in (("on_rollback:reached:after", 1), ("on_rollback:reached:before", 3)):
        killed(with_hooks, release(with_hooks, name="bad"), point)
        assert with_hooks.resume().state == "rolled back"
        assert len(told.calls) == calls
