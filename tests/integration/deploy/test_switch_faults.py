"""Each fault of a switch, really done, under load: runbook/procedures/faults.md has the matrix."""

import dataclasses
import os
import signal
import threading
import time

import psutil
import pytest

import disks
from tailrace.deploy.engines.process import shared_memory
from tailrace.errors import DeployError, MachineRefused, RolledBack
from tailrace.host import processes, waiting


def when(state, act):
    """An observer that acts once, when the switch has come to `state`."""
    return lambda reached, *_: act() if reached == state else None


def notes(d, state):
    return [entry for entry in d.journal.entries() if entry.state == state]


def envoys(d):
    supervisor = processes.find(d.folder / "processes", "edge")
    return psutil.Process(supervisor.pid).children()


@pytest.mark.fault(
    "edge dies",
    "nothing for about 0.2 s, then the same colour",
    "failed requests on the client's side; a note in the journal; `envoy left with -9` in the edge's log",
    "nothing: its supervisor restarts it on the route file",
)
@pytest.mark.alone
def test_a_killed_edge_is_back_with_the_same_colour(deployment, release, load):
    """Nothing is answered for a moment, then everything is again, by the colour that the file names."""
    d = deployment()
    d.up(release(d))
    d.switch(release(d, name="second"))
    with load(d.url) as traffic:
        time.sleep(0.5)
        killed_ns = time.perf_counter_ns()
        envoys(d)[0].kill()
        time.sleep(2)
    failed = [sent_ns for sent_ns, outcome, _ in traffic.answers if outcome != "200"]
    assert len(failed) > 0
    assert (max(failed) - killed_ns) / 1e9 < 1.5
    assert {colour for sent_ns, _, colour in traffic.answers if sent_ns > max(failed)} == {"green"}
    assert waiting.until(lambda: notes(d, "edge ended"), 60)
    (note,) = notes(d, "edge ended")
    assert note.fact.startswith("edge: killed by signal 9 after ")
    assert note.t_ns > killed_ns
    assert d.journal.unfinished() == []


@pytest.mark.fault(
    "edge dies while a switch bakes",
    "one colour, the one in the route file",
    "the switch ends, or stops and says why",
    "if it stopped: `resume`",
)
def test_an_edge_killed_while_baking_does_not_stop_the_switch_from_ending_on_one_colour(deployment, release, load):
    """Either colour is right; both, or none, is not."""
    d = deployment()
    d.up(release(d))
    try:
        with load(d.url):
            d.switch(release(d, name="second"), observe=when("baking", lambda: envoys(d)[0].kill()))
    except DeployError:
        assert d.resume().state in ("nothing", "rolled back", "done")
    assert d.edge.routes().weights == {d.serving.colour: 100}
    assert len(d.instances) == 1


@pytest.mark.fault(
    "new colour dies while baking",
    "the old colour, still warm",
    "RolledBack with the last lines of its log",
    "fix the release, deploy again",
)
def test_a_new_colour_killed_while_baking_is_replaced_by_the_old_one(deployment, release, load):
    """The old colour is still warm; what failed in between is counted on both sides alike."""
    d = deployment(bake_s=10)
    d.up(release(d))
    before = d.counters()

    def kill():
        d.engine.kill(next(i for i in d.instances if i.colour == "green"))

    with load(d.url) as traffic, pytest.raises(RolledBack, match="died under traffic") as raised:
        d.switch(release(d, name="second"), observe=when("baking", kill))
    back_ns = next(t_ns for state, t_ns, _ in raised.value.states if state == "rolling back")
    assert {(o, c) for sent_ns, o, c in traffic.answers if sent_ns > back_ns} == {("200", "blue")}
    assert d.counters().since(before).failed == traffic.failed


@pytest.mark.fault(
    "old colour dies before it is drained",
    "the new colour",
    "its requests in flight are lost, and counted by the edge",
    "nothing; a rollback would be a cold start",
)
def test_an_old_colour_killed_while_draining_costs_what_was_on_it(deployment, release, load):
    """The switch ends on the new colour, and the lost streams are in the counters."""
    d = deployment()
    d.up(release(d))
    before, old = d.counters(), d.serving
    with load(d.url, rate=40, streams=0, path="/stream?s=1.5") as traffic:
        d.switch(release(d, name="second"), observe=when("baked", lambda: d.engine.kill(old)))
    assert d.serving.colour == "green"
    assert d.counters().since(before).failed == traffic.failed > 0


@pytest.mark.fault(
    "new colour fails, old colour gone",
    "the new colour, because there is no other",
    "an error that says so; `history`: stayed",
    "switch to the release that you want",
)
def test_with_the_old_colour_gone_a_bad_new_one_stays_and_it_is_said(deployment, release, load):
    """Going back would be a cold start: that is the operator's decision. Its supervisor is killed with it."""
    d = deployment(bake_s=10, smoke=())
    d.up(release(d))
    old = processes.find(d.folder / "processes", d.serving.name)
    with load(d.url), pytest.raises(DeployError, match="would be a cold start"):
        d.switch(release(d, fail_every=2), observe=when("baking", lambda: processes.kill(old)))
    assert d.serving.colour == "green"
    assert d.history()[-1].how == "stayed"


@pytest.mark.fault("disk full", "the old colour", "an error that names the file", "free disk space, deploy again")
@pytest.mark.tmpfs
@pytest.mark.parametrize(
    "point", ["routed:intent:after", pytest.param("weighted:reached:after", marks=pytest.mark.deep)]
)
def test_a_full_disk_commits_nothing(deployment, release, load, small_disk, tmp_path, point):
    """Traffic stays where it was; once there is room again, abort removes the new colour."""
    disk = small_disk(tmp_path / "test")
    d = deployment()
    d.up(release(d))

    def fill(reached: str) -> None:
        if reached == point:
            disks.fill(disk)

    full = dataclasses.replace(d, fault=fill)
    with load(d.url) as traffic:
        with pytest.raises(MachineRefused, match="No space left"):
            full.switch(release(d, name="second"))
        (disk / disks.FILLER).unlink()
        assert d.abort().state == "nothing", "it was rolled back"
    assert traffic.failed == 0
    assert {colour for _, _, colour in traffic.answers} == {"blue"}
    assert [i.colour for i in d.instances] == ["blue"]


@pytest.mark.fault("journal torn in its last line", "as before", "nothing: that line was not acted upon", "nothing")
def test_a_journal_torn_in_its_last_line_is_read_without_it(deployment, release):
    """What was being written was not done yet."""
    d = deployment()
    d.up(release(d))
    whole = len(d.journal.entries())
    with (d.folder / "journal.jsonl").open("a") as file:
        file.write('{"seq": 99, "trans')
    assert len(d.journal.entries()) == whole
    d.switch(release(d, name="second"))
    assert d.journal.entries()[-1].state == "done"


@pytest.mark.fault(
    "journal damaged elsewhere",
    "what the route file says",
    "deploys are refused, with the line's number",
    "look at `status`, then `resume` to confirm it",
)
def test_a_damaged_journal_refuses_a_deploy_until_it_is_confirmed(deployment, release):
    """Resume takes the route file's word, and writes that down."""
    d = deployment()
    d.up(release(d))
    path = d.folder / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:3], "garbage\n", *lines[4:]]))
    with pytest.raises(DeployError, match="line 4 is damaged"):
        d.switch(release(d, name="second"))
    assert (d.status().serving, "line 4 is damaged" in d.status().damaged) == ("blue", True)
    assert d.resume().state == "done"
    assert d.status().damaged == ""
    d.switch(release(d, name="second"))
    assert d.serving.colour == "green"


@pytest.mark.fault(
    "two deploys at once",
    "that of the first deploy",
    "the second is refused: Locked, with the holder's pid",
    "wait, or look at `status`",
)
def test_two_deploys_at_once_are_one(deployment, release):
    """The second is refused while the first goes on."""
    d = deployment(bake_s=1)
    d.up(release(d))
    refused: list[str] = []

    def second() -> None:
        try:
            d.switch(release(d, name="third"))
        except DeployError as error:
            refused.append(type(error).__name__)

    def start() -> None:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    d.switch(release(d, name="second"), observe=when("baking", start))
    assert refused == ["Locked"]


@pytest.mark.fault(
    "the edge's supervisor is killed",
    "nothing: Envoy ends with it",
    "`status`: edge not alive",
    "`deploy`: same address, same colour; a note in the journal",
)
def test_after_its_supervisor_was_killed_the_edge_comes_back_with_up(deployment, release):
    """Envoy ends with its parent; the same door and the same colour are there again after up."""
    d = deployment()
    d.up(release(d))
    url = d.url
    supervisor = processes.find(d.folder / "processes", "edge")
    os.kill(supervisor.pid, signal.SIGKILL)
    assert waiting.until(lambda: not processes.alive(supervisor), 60)
    assert notes(d, "edge started anew") == []  # neither is the first start of an edge one
    d.up(release(d))
    (note,) = notes(d, "edge started anew")
    assert note.fact == "the edge did not run; it was started anew on its files"
    assert (d.url, d.edge.probe().headers["x-colour"]) == (url, "blue")
    segment = shared_memory.path(int((d.folder / "sockets" / shared_memory.RECORD).read_text()))
    assert segment.exists()
    assert len(d.down()) == 2
    assert not segment.exists()
