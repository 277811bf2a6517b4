"""Hedging: one of two attempts is taken, and the other is closed."""

import asyncio

import pytest

from tailrace.client.call.effects import Hedge
from tailrace.client.drivers.single_flight import hedged
from tailrace.client.wire import Response, Unanswered


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
    """Return the answer that `hedged` takes, the streams of all attempts, and the number of permits given back."""
    made, released = [], []

    async def main():
        begun = iter(attempts)

        async def attempt():
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

        hedge = Hedge(0.02, lambda: True, lambda: released.append(1))
        try:
            return await hedged(attempt, hedge)
        finally:
            await asyncio.sleep(0.05)

    return asyncio.run(main()), made, len(released)


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
    """Whatever the loser answers, and whenever: only the winner stays open, and the permit is given back."""
    taken, made, released = raced(*attempts)
    assert taken in made
    assert [answer.body.closed for answer in made] == [answer is not taken for answer in made]
    assert released == 1


def test_both_in_one_turn_of_the_loop():
    """Of two answers at the same moment, one is taken and the other closed."""

    async def main():
        gate, made = asyncio.Event(), []

        async def attempt():
            await gate.wait()
            made.append(Response(200, (), Stream()))
            return made[-1]

        asyncio.get_running_loop().call_later(0.05, gate.set)
        taken = await hedged(attempt, Hedge(0.01, lambda: True, lambda: None))
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
