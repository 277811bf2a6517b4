"""The journal: durable, readable after a crash, refused when it lies."""

import subprocess
import sys

import pytest

from tailrace.deploy.journal import Journal
from tailrace.errors import DeployError


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal.jsonl")


def test_events_come_back_in_order(journal):
    """With their sequence, their clock and their data."""
    journal.append("a", "begin", "locked", "switch", generation=4)
    journal.append("a", "intent", "started")
    first, second = journal.entries()
    assert (first.seq, second.seq, first.data) == (0, 1, {"generation": 4})
    assert first.t_ns < second.t_ns
    assert "pid" in first.who
    assert journal.generation() == 4


def test_a_transition_without_an_end_is_unfinished(journal):
    """Notes do not count; an end does."""
    journal.append("a", "begin", "locked")
    journal.append("", "note", "paused")
    assert [entry.state for entry in journal.unfinished()] == ["locked"]
    journal.append("a", "end", "done")
    assert journal.unfinished() == []


@pytest.mark.parametrize("torn", ['{"seq": 1', '{"seq": 1}', "\x00\x00"])
def test_a_torn_last_line_is_left_out_and_then_replaced(journal, torn):
    """It was never acted upon."""
    journal.append("a", "begin", "locked")
    with journal.path.open("a") as file:
        file.write(torn)
    assert len(journal.entries()) == 1
    journal.append("a", "end", "done")
    assert [entry.state for entry in journal.entries()] == ["locked", "done"]


def test_a_damaged_line_is_refused_until_confirmed(journal):
    """What it said is lost, and could have been anything."""
    journal.append("a", "begin", "locked")
    with journal.path.open("a") as file:
        file.write("garbage\n")
    with pytest.raises(DeployError, match="line 2 is damaged"):
        journal.entries()
    journal.append("", "end", "confirmed")
    assert [entry.state for entry in journal.entries()] == ["locked", "confirmed"]


def test_the_order_does_not_depend_on_the_wall_clock(journal):
    """A clock that steps back changes what is printed, nothing else."""
    journal.append("a", "begin", "locked")
    journal.append("a", "end", "done")
    lines = journal.path.read_text().splitlines(keepends=True)
    journal.path.write_text(lines[0] + lines[1].replace('"at": "20', '"at": "19'))
    assert [entry.state for entry in journal.entries()] == ["locked", "done"]
    assert journal.unfinished() == []


def test_what_cannot_be_written_is_an_error_of_ours(tmp_path):
    """It says that nothing was done."""
    with pytest.raises(DeployError, match="so it was not done"):
        Journal(tmp_path / "missing" / "journal.jsonl").append("a", "begin", "locked")


def test_a_huge_fact_is_cut_and_says_its_size(journal):
    """The journal is read as a whole, again and again."""
    journal.append("a", "note", "short", "s" * 1000)
    journal.append("a", "note", "huge", "h" * 5_000_000)
    short, huge = journal.entries()
    assert short.fact == "s" * 1000
    assert huge.fact.endswith("h … (5,000,000 bytes)")
    assert journal.path.stat().st_size < 20_000


def test_two_processes_append_without_losing_or_tearing_a_line(journal):
    """The supervisor of an instance writes notes while a controller goes through a rollout."""
    script = (
        "import sys, pathlib; from tailrace.deploy.journal import Journal; j = Journal(pathlib.Path(sys.argv[1]))\n"
        "for n in range(40): j.append('', 'note', sys.argv[2], str(n))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, journal.path, name]) for name in ("one", "two")]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    entries = journal.entries()
    assert [entry.seq for entry in entries] == list(range(80))
    for name in ("one", "two"):
        assert [entry.fact for entry in entries if entry.state == name] == [str(n) for n in range(40)]
