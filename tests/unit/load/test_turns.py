"""The queue of later turns: a pure order of what is due, and a count of what became of each session."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.load.dispatch import Answered
from tailrace.load.outcome import CANCELLED
from tailrace.load.sessions import SessionCounts, SessionPlan, Turn
from tailrace.load.turns import TurnQueue

SECOND = 10**9


def plan(number: int, *pauses_s: float, due_s: float = 0.0) -> SessionPlan:
    return SessionPlan(number, (Turn(), *(Turn(pause, due_s) for pause in pauses_s)))


def test_a_turn_is_due_its_pause_after_the_answer():
    """The pause counts from the end of the answer, not from when the turn before was due."""
    queue = TurnQueue(100 * SECOND)
    first = queue.begin(plan(0, 2.0), 5 * SECOND)
    assert (first.due_ns, first.turn, queue.next_ns) == (5 * SECOND, 0, None)
    queue.answered(first, Answered(11 * SECOND, ""))
    second = queue.take()
    assert (second.due_ns, second.turn) == (13 * SECOND, 1)
    queue.answered(second, Answered(14 * SECOND, ""))
    assert queue.counts == SessionCounts(begun=1, complete=1)


def test_a_recorded_turn_is_not_due_before_its_time():
    """In a trace, a turn waits for both: the answer, and its recorded time from the start of the session."""
    queue = TurnQueue(100 * SECOND)
    queue.answered(queue.begin(plan(0, 0.0, due_s=30.0), 5 * SECOND), Answered(6 * SECOND, ""))
    assert queue.next_ns == 35 * SECOND


def test_turns_of_sessions_come_in_the_order_of_time():
    """Whichever session began first, the turn that is due first goes first."""
    queue = TurnQueue(100 * SECOND)
    slow, fast = queue.begin(plan(0, 9.0), 0), queue.begin(plan(1, 1.0), SECOND)
    queue.answered(slow, Answered(2 * SECOND, ""))
    queue.answered(fast, Answered(3 * SECOND, ""))
    assert [queue.take().session, queue.take().session] == [1, 0]


@pytest.mark.parametrize(
    ("error_type", "counts"),
    [
        ("http_500", SessionCounts(begun=1, failed=1, turns_after_failure=2)),
        (CANCELLED, SessionCounts(begun=1, unfinished=1, turns_after_end=2)),
    ],
)
def test_the_rest_of_a_session_is_not_sent_after_a_failure(error_type: str, counts: SessionCounts):
    """Nothing waits after it, and the count says how many turns that left out, and why."""
    queue = TurnQueue(100 * SECOND)
    queue.answered(queue.begin(plan(0, 1.0, 1.0), 0), Answered(SECOND, error_type))
    assert (queue.next_ns, queue.awaited, queue.counts) == (None, 0, counts)


def test_a_turn_after_the_end_of_the_schedule_is_not_sent():
    """It is counted instead, with all that follow it."""
    queue = TurnQueue(10 * SECOND)
    queue.answered(queue.begin(plan(0, 5.0, 1.0), 0), Answered(6 * SECOND, ""))
    assert queue.next_ns is None
    assert queue.counts == SessionCounts(begun=1, unfinished=1, turns_after_end=2)


def test_closing_counts_what_waits():
    """After a stop, turns that wait are counted; those that were due by then were due."""
    queue = TurnQueue(100 * SECOND)
    for number, pause_s in enumerate((1.0, 50.0)):
        queue.answered(queue.begin(plan(number, pause_s), 0), Answered(SECOND, ""))
    assert queue.close(10 * SECOND) == 1
    assert queue.counts == SessionCounts(begun=2, unfinished=2, turns_after_end=2)


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["", "", "http_503", CANCELLED])), max_size=20))
def test_every_session_and_every_turn_is_accounted_for(sessions):
    """begun = complete + failed + unfinished, and each planned turn was sent or is counted as not sent."""
    queue, sent = TurnQueue(4 * SECOND), 0
    for number, (turns, error_type) in enumerate(sessions):
        turn = queue.begin(plan(number, *[1.0] * (turns - 1)), number)
        sent += 1
        queue.answered(turn, Answered(SECOND, error_type))
    while queue.next_ns is not None:
        turn = queue.take()
        sent += 1
        queue.answered(turn, Answered(turn.due_ns, ""))
    counts = queue.counts
    assert counts.begun == counts.complete + counts.failed + counts.unfinished == len(sessions)
    assert sent + counts.turns_after_failure + counts.turns_after_end == sum(turns for turns, _ in sessions)
