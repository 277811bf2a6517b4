"""Hedging: one of two attempts is taken, and the other is closed."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tailrace.client.call.effects import Send
from tailrace.client.drivers.single_flight import hedged
from tailrace.client.wire import Request, Response, Unanswered

SEND = Send(Request("POST", "http://h/", (), b""), None, None)


@dataclass
class Twice:
    """A hedge that always agrees, and takes what has a status below 400."""

    after_s: float
    ends: list = field(default_factory=list)
    taken: list = field(default_factory=list)

    def second(self):
        return SEND

    def ended(self, number, outcome):
        self.ends.append(number)
        return isinstance(outcome, Response) and outcome.status < 400

    def over(self, taken):
        self.taken.append(taken)


class Stream:
    """A body that notes whether it was closed."""

    def __init__(self):
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        raise StopAsyncIteration

    async def aclose(self):
        self.closed = True


def raced(*attempts):
    """Return the answer that `hedged` takes, the answers of all attempts, and what the hedge was told at the end."""
    made, hedge = [], Twice(0.02)

    async def main():
        begun = iter(attempts)

        async def attempt(_send):
            answer = next(begun)
            status, after_s = answer[:2]
            try:
                await asyncio.sleep(after_s)
            except asyncio.CancelledError:
                if len(answer) < 3:
                    raise  # as senders do, who close what they have
            if status == 0:
                raise Unanswered("connection", "gone")
            made.append(Response(status, (), Stream()))
            return made[-1]

        try:
            return await hedged(attempt, SEND, hedge)
        finally:
            await asyncio.sleep(0.05)

    return asyncio.run(main()), made, hedge.taken


@pytest.mark.parametrize(
    "attempts",
    [
        [(200, 0.06), (200, 0.04)],  # in the same turn of the loop, or nearly
        [(500, 0.03), (200, 0.05)],
        [(200, 0.05), (500, 0.01)],
        [(200, 0.2, "stubborn"), (200, 0.01)],  # it was cancelled, and answers nevertheless
        [(500, 0.04), (500, 0.02)],
    ],
)
def test_the_stream_that_lost_is_closed(attempts):
    """Whatever the loser answers, and whenever: only the winner stays open, and the hedge is told which."""
    taken, made, told = raced(*attempts)
    assert taken in made
    assert [answer.body.closed for answer in made] == [answer is not taken for answer in made]
    assert len(told) == 1
    assert told[0] in (0, 1)


def test_both_in_one_turn_of_the_loop():
    """Of two answers at the same moment, one is taken and the other closed."""

    async def main():
        gate, made = asyncio.Event(), []

        async def attempt(_send):
            await gate.wait()
            made.append(Response(200, (), Stream()))
            return made[-1]

        asyncio.get_running_loop().call_later(0.05, gate.set)
        taken = await hedged(attempt, SEND, Twice(0.01))
        await asyncio.sleep(0.01)
        return taken, made

    taken, made = asyncio.run(main())
    assert len(made) == 2
    assert sorted(answer.body.closed for answer in made) == [False, True]
    assert not taken.body.closed


def test_a_good_answer_is_taken_before_a_failure_whichever_is_first():
    """When one attempt fails the other's answer is taken; when both fail, the call fails."""
    taken, _, _ = raced((0, 0.04), (200, 0.06))
    assert taken.status == 200
    taken, _, _ = raced((500, 0.04), (0, 0.06))
    assert taken.status == 500, "an answer, if a bad one, before none"
    with pytest.raises(Unanswered):
        raced((0, 0.04), (0, 0.02))
