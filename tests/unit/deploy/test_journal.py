"""The journal: durable, readable after a crash, refused when it lies."""

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
