"""Waiting: until a condition holds, and what the last look at it is worth."""

import pytest

from tailrace.host import waiting


class Clock:
    """A clock on which a look takes its time, and a sleep its own."""

    def __init__(self, look_s: float) -> None:
        self.now, self.look_s, self.looks = 0.0, look_s, 0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def holds_from(self, at_s: float):
        def look() -> bool:
            self.looks += 1
            self.now += self.look_s
            return self.now >= at_s

        return look


def waited(clock, holds_from_s, timeout_s):
    return waiting.until(clock.holds_from(holds_from_s), timeout_s, 0.002, clock, clock.sleep)


@pytest.mark.parametrize("look_s", [0.0, 0.01, 0.15, 0.6, 2.5])
def test_what_holds_just_at_the_limit_counts(look_s):
    """However long a look takes: the last one begins after the limit, and nobody has to look once more to say why."""
    assert waited(Clock(look_s), 0.6, 0.6)


@pytest.mark.parametrize("look_s", [0.01, 0.15, 0.6, 2.5])
def test_what_holds_later_does_not(look_s):
    """Negative control: the wait is over one look after the limit."""
    clock = Clock(look_s)
    assert not waited(clock, 60, 0.6)
    assert clock.now <= 0.6 + 2 * look_s + 0.002 + 1e-9


def test_what_holds_at_once_is_looked_at_once():
    """Without a sleep."""
    clock = Clock(0.0)
    assert waited(clock, 0, 0)
    assert (clock.looks, clock.now) == (1, 0)
