"""The disk fills at every state of a switch, under load: it is taken back or ended, and never left half-way.

After each: exit status 3 and one line, traffic where the matrix of faults says, no request failed, nothing
half-written, and the next switch works once there is room.
"""

import dataclasses
import json
import os

import pytest

import disks
from depth import scaled
from tailrace import system_errors
from tailrace.deploy import journal, switch
from tailrace.errors import DeployError, MachineRefused, Unfinished
from tailrace.host import files

pytestmark = pytest.mark.tmpfs
PAGE = os.sysconf("SC_PAGE_SIZE")
REACHED = [f"{state}:reached:after" for state in switch.ACTS]
ON = REACHED[list(switch.ACTS).index("baked") :]
BACK = ["locked:begin:after", "spawned", "green:rename:before", "routed:intent:after", "baked:intent:after"]
BACK = [*REACHED[: -len(ON)], *BACK]
QUICK = ["warm:reached:after", "switched:reached:after", "baked:reached:after"]
PLAIN = {"bake_s": 0.2, "smoke": (), "warmup": {"max_requests": 0, "min_requests": 0}}


def pad(path) -> None:
    """Append a note that ends the last page of the journal: nothing more can be written into it on a full disk."""
    note = {"seq": 0, "transition": "", "kind": "note", "state": "padding", "fact": "", "t_ns": 0, "at": "", "who": ""}
    short = path.stat().st_size + len(json.dumps(note)) + 1
    with path.open("a") as file:
        file.write(json.dumps(note | {"fact": "x" * (-short % PAGE)}) + "\n")


def filling(d, disk, point):
    """Return the deployment, with a disk that fills when `point` is reached."""

    def fill(reached):
        if reached == point and not (disk / disks.FILLER).exists():
            pad(disk / "journal.jsonl")
            disks.fill(disk)

    return dataclasses.replace(d, fault=fill, engine=dataclasses.replace(d.engine, fault=fill))


def whole(d, disk) -> None:
    """One colour serves, alone; nothing is half-written, and nothing is left to resume."""
    assert [i.colour for i in d.instances] == [d.serving.colour]
    assert d.edge.routes().weights == {d.serving.colour: 100}
    assert d.engine.sweep(d.profile.name) == []
    assert d.journal.unfinished() == d.journal.damaged() == []
    assert [str(path) for pattern in ("*.new", ".reserve", "*.room") for path in disk.rglob(pattern)] == []


@pytest.mark.fault(
    "disk full at any state",
    "the old colour, warm; once that is drained, the new one",
    "exit status 3, and one line with the file",
    "free disk space, deploy again",
)
def test_a_disk_that_fills_at_any_state_leaves_nothing_half_way(deployment, release, load, small_disk, tmp_path):
    """Up to the bake the switch is taken back, on the full disk; from the drain on, it ends."""
    disk = small_disk(tmp_path / "test")
    d = deployment(**PLAIN)
    d.up(release(d))
    with load(d.url, rate=50) as traffic:
        for number, point in enumerate(scaled([*BACK, *ON], QUICK)):
            before, new = d.serving, release(d, name=f"release-{number}")
            full = filling(d, disk, point)
            if point in ON:
                assert full.switch(new).to_colour != before.colour
            else:
                with pytest.raises((DeployError, OSError), match="No space left on device") as refused:
                    full.switch(new)
                assert system_errors.of_machine(refused.value)
                assert "\n" not in str(refused.value)
                assert d.serving == before, point
            assert (disk / disks.FILLER).exists(), point
            (disk / disks.FILLER).unlink()
            whole(d, disk)
        assert d.switch(release(d, name="with-room")).account.failed == 0
    assert traffic.failed == 0
    assert traffic.sent > 0


def test_without_its_reserve_the_way_back_needs_a_hand(deployment, release, small_disk, tmp_path, monkeypatch):
    """The negative control: a full disk cannot be written on, so the switch is left half-way, and `abort` ends it."""
    disk = small_disk(tmp_path / "test")
    d = deployment(**PLAIN)
    d.up(release(d))
    monkeypatch.setattr(files, "reserve", lambda path: None)
    with pytest.raises(MachineRefused, match="rolling back failed"):
        filling(d, disk, "switched:reached:after").switch(release(d, name="second"))
    (disk / disks.FILLER).unlink()
    with pytest.raises(Unfinished):
        d.switch(release(d, name="second"))
    assert d.abort().state == "rolled back"
    assert d.serving.colour == "blue"
    whole(d, disk)


@pytest.mark.deep
def test_a_first_deploy_on_a_disk_that_fills_leaves_nothing(deployment, release, small_disk, tmp_path):
    """What was started is taken down again, and that is journalled on what it frees; the next one brings it up."""
    disk = small_disk(tmp_path / "test")
    d = deployment(**PLAIN)
    built = release(d)
    with pytest.raises((DeployError, OSError), match="No space left on device"):
        filling(d, disk, "smoked:intent:after").up(built)
    assert not d.is_up
    assert d.abandoned() == []
    (disk / disks.FILLER).unlink()
    d.up(built)
    whole(d, disk)


def test_the_entries_of_a_journal_cannot_grow_beyond_the_reserve():
    """The way back writes a few entries and files of the edge; the longest entry leaves room for them."""
    assert journal.FACT_BYTES * 4 < files.RESERVE_BYTES
