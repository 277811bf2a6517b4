"""The history of a deployment, and the release to go back to: read from the journal."""

import pytest

from tailrace.deploy.history import (
    environment_of,
    environment_to_return_to,
    history,
    last_environment,
    previous_release,
)
from tailrace.deploy.journal import Journal


def rollout(journal, id, verb, release, previous, end="done", **environment):
    data = {"verb": verb, "release": release, "previous": previous, "environment": {"N": id, **environment}}
    data |= {"generation": int(id), "changes": ["REVISION changed"] if previous else []}
    journal.append(id, "begin", "locked", **data)
    if end:
        journal.append(id, "end", end, "why")


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    rollout(journal, "1", "up", "a", "")
    return journal


def test_a_rollout_is_one_line_and_one_without_end_is_unfinished(journal):
    """What, which release, and how it ended."""
    rollout(journal, "2", "switch", "b", "a", "rolled back")
    rollout(journal, "3", "switch", "c", "a", "")
    lines = [(entry.what, entry.release, entry.how) for entry in history(journal.entries())]
    assert lines == [("up", "a", "done"), ("switch", "b", "rolled back"), ("switch", "c", "unfinished")]


def test_the_previous_release_is_that_before_the_last_completed_rollout(journal):
    """One that was rolled back changes nothing."""
    rollout(journal, "2", "switch", "b", "a")
    rollout(journal, "3", "switch", "c", "b", "rolled back")
    assert previous_release(journal.entries()) == ("a", "")


def test_there_is_nothing_to_go_back_to_after_the_first_release_or_a_rollback(journal):
    """Each for its own reason."""
    assert previous_release(journal.entries()) == ("", "there is no release before this one")
    rollout(journal, "2", "rollback", "a", "b")
    assert previous_release(journal.entries()) == ("", "rolled back to release a already")


def test_the_last_environment_is_that_of_the_last_rollout(journal, tmp_path):
    """Finished or not; a deployment without any has none."""
    rollout(journal, "2", "switch", "b", "a", "")
    assert last_environment(journal.entries()) == {"N": "2"}
    assert last_environment([]) == {}


def test_a_restart_brings_no_other_release_and_a_death_forgets_none(journal):
    """The release before is that before the one that serves, however often it was started."""
    rollout(journal, "2", "switch", "b", "a")
    rollout(journal, "3", "restart", "b", "b")
    rollout(journal, "4", "restart", "b-rotated", "b")
    assert previous_release(journal.entries()) == ("a", "")
    rollout(journal, "5", "up", "b", "")
    assert previous_release(journal.entries()) == ("a", "")
    rollout(journal, "6", "rollback", "a", "b")
    rollout(journal, "7", "up", "a", "")
    assert previous_release(journal.entries()) == ("", "rolled back to release a already")
    rollout(journal, "8", "switch", "b.2", "a")
    assert previous_release(journal.entries()) == ("a", "")


def test_a_rollout_says_what_was_new(journal):
    """By names; a journal from before releases said so has nothing."""
    rollout(journal, "2", "switch", "b", "a")
    journal.append("3", "begin", "locked", verb="switch", release="c")
    assert [entry.changes for entry in history(journal.entries())] == [(), ("REVISION changed",), ()]


def test_a_release_goes_back_to_its_own_variables_with_the_values_of_today(journal):
    """What the release between has added is none of them; unknown generations and releases have none of their own."""
    rollout(journal, "2", "switch", "b", "a", OLD="here")
    rollout(journal, "3", "switch", "c", "b", NEW="there")
    entries = journal.entries()
    assert environment_to_return_to(entries, "b", 3) == {"N": "3", "OLD": "here"}
    assert environment_to_return_to(entries, "none", 3) == environment_of(entries, 3) == {"N": "3", "NEW": "there"}
    assert environment_of(entries, 9) == {}
