"""Conversations: a pure plan of who says what, and when."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from tailrace.load import Weighted, Workload
from tailrace.load.bodies import Conversation
from tailrace.load.counting import Counting, Target
from tailrace.load.lengths import Lengths, fixed
from tailrace.load.sessions import Sessions

TALK = Workload(
    sessions=Sessions(fixed(3), think_s=2.0, system_tokens=30), prompt_tokens=fixed(10), max_tokens=fixed(5)
)


def messages(workload: Workload, n: int, turn: int) -> list[dict]:
    return orjson.loads(workload.turn(workload.session(n), turn).body)["messages"]


def test_each_turn_continues_the_one_before():
    """A turn sends everything that the turn before sent, a planned answer, and its own message."""
    before = messages(TALK, 7, 0)
    for turn in (1, 2):
        after = messages(TALK, 7, turn)
        assert after[: len(before)] == before
        assert [one["role"] for one in after[len(before) :]] == ["assistant", "user"]
        before = after


def test_sessions_share_the_system_message_and_nothing_else():
    """Two sessions begin with the same system message; their own words differ from the first on."""
    one, two = messages(TALK, 1, 2), messages(TALK, 2, 2)
    assert one[0] == two[0] == {"role": "system", "content": one[0]["content"]}
    assert len(one[0]["content"].split()) == 30
    for left, right in zip(one[1:], two[1:], strict=True):
        assert left["content"].split()[0] != right["content"].split()[0]


def test_planned_tokens_and_prefix_add_up():
    """The first turn sends the system message and its own; each later one adds an answer and a message."""
    requests = [TALK.turn(TALK.session(3), turn) for turn in range(3)]
    assert [request.planned_in_tok for request in requests] == [40, 55, 70]
    assert [request.prefix_tok for request in requests] == [30, 40, 55]
    assert [request.planned_out_tok for request in requests] == [5, 5, 5]
    assert [(request.session, request.turn) for request in requests] == [(3, 0), (3, 1), (3, 2)]
    assert TALK.turn(TALK.session(0), 0).prefix_tok == 0  # nobody was there before the first session


def test_a_template_that_counts_is_taken_off_the_words():
    """Where each message costs 4 tokens and each request 3, the texts are shorter and the plan is the same."""
    counting = Counting(request_tok=3, message_tok=4, source="the server")
    workload = replace(TALK, targets={TALK.model: Target(counting)})
    for turn, planned in enumerate((40, 59, 78)):
        said = messages(workload, 3, turn)
        counted = 3 + 4 * len(said) + sum(len(one["content"].split()) for one in said)
        assert counted == planned == workload.turn(workload.session(3), turn).planned_in_tok


def test_turns_and_pauses_are_drawn_by_number():
    """The number of turns and the pauses follow their distributions, and are the same each time."""
    workload = Workload(sessions=Sessions(Lengths("uniform", 5, 2), think_s=1.0, think="exponential"))
    plans = [workload.session(n) for n in range(400)]
    assert plans == [workload.session(n) for n in range(400)]
    assert {len(plan.turns) for plan in plans} == {3, 4, 5, 6, 7}
    assert all(plan.turns[0].think_s == 0 for plan in plans)
    pauses = [turn.think_s for plan in plans for turn in plan.turns[1:]]
    assert sum(pauses) / len(pauses) == pytest.approx(1.0, rel=0.1)


def test_a_recorded_conversation_is_replayed_turn_by_turn():
    """Each question of a file is a turn, with the recorded answers before it; the last answer is never sent."""
    roles = ("system", "user", "assistant", "user", "assistant")
    said = tuple({"role": role, "content": f"{role} {n}"} for n, role in enumerate(roles))
    workload = Workload(prompts=(Conversation(said), "alone"), sessions=Sessions(think_s=1.5))
    assert [turn.think_s for turn in workload.session(0).turns] == [0.0, 1.5]
    assert len(workload.session(1).turns) == 1
    assert messages(workload, 0, 0) == list(said[:2])
    assert messages(workload, 0, 1) == list(said[:4])
    assert messages(workload, 1, 0) == [{"role": "user", "content": "alone"}]
    assert workload.turn(workload.session(0), 1).planned_in_tok == -1  # nobody counted the file's tokens


def test_a_session_keeps_its_model():
    """All turns of a session go to the same model."""
    workload = replace(TALK, models=(Weighted("a"), Weighted("b")))
    for n in range(20):
        assert len({workload.turn(workload.session(n), turn).model for turn in range(3)}) == 1


@pytest.mark.parametrize("endpoint", ["completions", "embeddings"])
def test_endpoints_without_messages_have_no_sessions(endpoint: str):
    """Only chat and responses take a conversation."""
    with pytest.raises(ValueError, match="sessions need the endpoint chat or responses"):
        Workload(endpoint=endpoint, sessions=Sessions())
