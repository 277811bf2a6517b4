"""The supervisor of an instance: it starts it again, tells that, and does not get between a switch and its end."""

import os
import signal
import sys
import urllib.request

import psutil
import pytest

from tailrace.errors import RolledBack, StartFailed
from tailrace.host import processes, supervised, waiting

GENEROUS_S = 60


@pytest.fixture
def record(deployment):
    """Return the record of an instance of `d`."""
    return lambda d, instance: processes.find(d.folder / "processes", instance.name)


def answered(d):
    try:
        return urllib.request.urlopen(d.url, timeout=5).status
    except OSError:
        return 0


def notes(d):
    return [entry for entry in d.journal.entries() if entry.state == "instance ended"]


@pytest.mark.fault(
    "crash of the serving instance",
    "nothing until it listens again, at the same address",
    "a note in the journal; `status`: `restarts 1, last exit: killed by signal 9`; `tailrace_restarts`",
    "nothing: its supervisor restarts it",
)
def test_the_serving_instance_is_restarted_when_it_is_killed(deployment, release, load, record):
    """At the same address, without a rollout; the journal, `status` and `died` tell."""
    d = deployment()
    d.up(release(d))
    serving = d.serving
    first = supervised.read(record(d, serving))
    with load(d.url, streams=0) as traffic:
        os.kill(first.pid, signal.SIGKILL)
        assert waiting.until(lambda: d.engine.restarts(serving) == 1 and answered(d) == 200, GENEROUS_S)
        sent = traffic.sent
        assert waiting.until(lambda: traffic.sent > sent + 20, GENEROUS_S)
    assert traffic.answers[-1][1:] == ("200", "blue")
    assert d.serving == serving
    assert d.engine.died(serving)
    slot = d.status().slot("blue")
    assert (slot.restarts, slot.state) == (1, "running; restarts 1, last exit: killed by signal 9")
    assert waiting.until(lambda: notes(d), GENEROUS_S)
    assert "killed by signal 9" in notes(d)[0].fact
    assert d.journal.unfinished() == []
    d.switch(release(d, name="second"))
    assert d.serving.colour == "green"


def test_an_instance_on_trial_that_ends_is_not_restarted(deployment, release):
    """The negative control: a release that dies at its start is StartFailed, with one start in its log."""
    d = deployment()
    d.up(release(d))
    with pytest.raises(StartFailed, match="left with 2"):
        d.switch(release(d, nonsense=1))
    log = next(iter((d.folder / "processes").glob("green-*.log"))).read_text()
    assert log.count("unrecognized arguments") == 1
    assert notes(d) == []
    assert [i.colour for i in d.instances] == ["blue"]


@pytest.mark.fault(
    "new colour crashes while baking, and is restarted",
    "the old colour, still warm",
    "RolledBack with how it ended and the last lines of its log",
    "fix the release, deploy again",
)
def test_a_new_colour_that_is_restarted_while_baking_is_rolled_back(deployment, release, load, record):
    """Although it runs again."""
    d = deployment(bake_s=30)
    d.up(release(d))

    def crash(state, *_):
        if state == "baking":
            green = next(i for i in d.instances if i.colour == "green")
            d.engine.kill(green)
            assert waiting.until(lambda: d.engine.alive(green), GENEROUS_S)

    with load(d.url), pytest.raises(RolledBack, match=r"died under traffic .*killed by signal 9"):
        d.switch(release(d, name="second"), observe=crash)
    assert d.serving.colour == "blue"
    assert [i.colour for i in d.instances] == ["blue"]


@pytest.mark.fault(
    "new colour fails, old colour has crashed and is restarted",
    "the old colour, from a cold start",
    "RolledBack; a note in the journal",
    "fix the release, deploy again",
)
def test_a_bad_new_colour_goes_back_to_an_old_one_that_was_restarted(deployment, release, load):
    """The rollback waits until the edge finds the old one healthy."""
    d = deployment(bake_s=30, smoke=())
    d.up(release(d))
    old = d.serving

    def crash(state, *_):
        if state == "baking":
            d.engine.kill(old)

    with load(d.url), pytest.raises(RolledBack):
        d.switch(release(d, fail_every=2), observe=crash)
    assert d.serving == old
    assert waiting.until(lambda: answered(d) == 200, GENEROUS_S)


@pytest.mark.fault(
    "serving instance keeps dying",
    "nothing between its starts, which get rarer: at most 30 s apart",
    "`status`: restarts, last exit, seconds to the next start; notes in the journal, folded",
    "look at `tailrace logs`; deploy a release that works, or `rollback`",
)
def test_an_instance_that_keeps_dying_is_told_and_another_release_replaces_it(deployment, release, record, tmp_path):
    """The journal is bounded, and a deploy works although nothing serves."""
    d = deployment()
    d.up(release(d, dies_if=tmp_path / "broken"))
    serving = d.serving
    (tmp_path / "broken").touch()
    d.engine.kill(serving)
    assert waiting.until(lambda: supervised.read(record(d, serving)).restarts >= 3, GENEROUS_S)
    assert waiting.until(lambda: "next start in" in d.engine.state(serving), GENEROUS_S)
    assert waiting.until(lambda: any("keeps dying" in note.fact for note in notes(d)), GENEROUS_S)
    assert d.status().serving == ""
    assert d.deploy(release(d, name="good"), {}).result == "brought up"
    assert answered(d) == 200
    assert d.engine.restarts(d.serving) == 0
    assert len(d.instances) == 1


@pytest.mark.fault(
    "the supervisor of the serving instance is killed",
    "the instance, which goes on; nothing starts it again",
    "`status`: its supervisor is gone",
    "`restart`, or any `deploy`",
)
def test_an_instance_outlives_its_supervisor_and_the_next_deploy_gives_it_another(deployment, release, record):
    """It is never an outage, it is told, and `deploy` of the same release repairs it by a switch."""
    d = deployment()
    d.up(release(d))
    serving = d.serving
    os.kill(record(d, serving).pid, signal.SIGKILL)
    assert waiting.until(lambda: not record(d, serving).alive, GENEROUS_S)
    assert answered(d) == 200
    assert d.engine.alive(serving)
    assert "its supervisor is gone" in d.status().slot("blue").state
    assert d.deploy(release(d), {}).result == "switched"
    assert d.status().slot("green").state == "running"
    assert d.deploy(release(d), {}).result == "served already"


def test_down_leaves_nothing_of_an_instance(deployment, release, record):
    """Neither supervisor nor program nor state: only its log."""
    d = deployment()
    d.up(release(d))
    process = record(d, d.serving)
    pids = [process.pid, supervised.read(process).pid]
    d.down()
    assert not any(processes.started(pid) for pid in pids)
    left = {path.name for path in (d.folder / "processes").iterdir()}
    assert left == {"edge.log", process.log.name}


def test_a_supervisor_is_small_and_its_command_line_has_not_the_words_of_the_service(deployment, release, record):
    """So `pgrep -f` finds the service, and one beside every instance costs little."""
    d = deployment()
    d.up(release(d))
    supervisor = psutil.Process(record(d, d.serving).pid)
    assert "misbehaving.py" not in " ".join(supervisor.cmdline())
    assert "misbehaving.py" in " ".join(supervisor.children()[0].cmdline())
    assert supervisor.memory_info().rss < 24 << 20
    assert not supervisor.environ().keys() - {"PATH", "PYTHONPATH", "LC_CTYPE", *processes.marks(d.folder, "")}


@pytest.mark.parametrize(("counter", "printed"), [("N", ["0", "1"]), ("", ["None", "None"])])
def test_the_program_learns_how_often_it_was_restarted(tmp_path, counter, printed):
    """By the variable of the order; a program that is not ours gets none."""
    script = "import os, time; print(os.environ.get('N'), flush=True); time.sleep(600)"
    order = supervised.Order([sys.executable, "-c", script], {"PATH": os.environ["PATH"]}, counter=counter)
    process = supervised.start(order, tmp_path, "counted")

    def lines():
        return [line for line in process.log.read_text().splitlines() if "tailrace" not in line]

    try:
        supervised.accept(process)
        assert waiting.until(lines, GENEROUS_S)
        supervised.crash(process)
        assert waiting.until(lambda: len(lines()) == 2, GENEROUS_S)
        assert lines() == printed
    finally:
        supervised.end(process, 2)
