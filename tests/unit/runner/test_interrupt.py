"""The first signal ends a run in order and in a bounded time, a second one at once."""

import os
import signal

import pytest

from tailrace.runner.interrupt import HANDLED, PATIENCE_S, SAME_S, EndedAtOnce, Interrupt, record_signals


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_is_recorded_with_its_exit_code(number):
    """The exit code is 128 + signal, as shells have it; before a signal there is none."""
    with record_signals() as interrupt:
        interrupt.begun = True
        assert not interrupt
        os.kill(os.getpid(), number)
        assert (bool(interrupt), interrupt.signal, interrupt.exit_code) == (True, number, 128 + number)


@pytest.mark.parametrize("number", HANDLED)
def test_before_the_run_has_begun_the_first_signal_ends_at_once(number):
    """There is nothing to end in order."""
    with record_signals(), pytest.raises(EndedAtOnce, match="nothing had begun") as end:
        os.kill(os.getpid(), number)
    assert end.value.exit_code == 128 + number


def test_a_second_signal_ends_at_once(clock):
    """Its exit code is that of the first; the third changes nothing, because the end is under way."""
    interrupt = begun(clock)
    interrupt.record(signal.SIGINT)
    clock.now = SAME_S + 0.1
    with pytest.raises(EndedAtOnce, match="SIGINT again: ended at once") as end:
        interrupt.record(signal.SIGTERM)
    assert (end.value.exit_code, interrupt.at_once) == (130, True)
    interrupt.record(signal.SIGTERM)


def test_the_signal_of_timeout_is_one(clock):
    """`timeout` signals the process and its group: the same signal twice, within a moment, ends the run in order."""
    interrupt = begun(clock)
    for clock.now in (0.0, 0.001, SAME_S):
        interrupt.record(signal.SIGTERM)
    assert (interrupt.signal, interrupt.at_once) == (signal.SIGTERM, False)


def test_the_end_of_a_run_has_a_time(clock):
    """After a signal it is overdue when its patience is over; without one, the control, never."""
    interrupt = begun(clock)
    clock.now = 10 * PATIENCE_S
    assert not interrupt.overdue()
    interrupt.record(signal.SIGTERM)
    clock.now += PATIENCE_S
    assert not interrupt.overdue()
    clock.now += 0.1
    assert interrupt.overdue()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def begun(clock):
    """Return the interrupt of a run that has begun."""
    interrupt = Interrupt(clock)
    interrupt.begun = True
    return interrupt


def test_the_handlers_are_restored():
    """After the context, signals mean what they meant before."""
    before = [signal.getsignal(number) for number in HANDLED]
    with record_signals():
        assert [signal.getsignal(number) for number in HANDLED] != before
    assert [signal.getsignal(number) for number in HANDLED] == before
