"""Signals that end a run are recorded, and the process lives on."""

import os
import signal

import pytest

from tailrace.runner.interrupt import HANDLED, Interrupt, record_signals


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_is_recorded_with_its_exit_code(number):
    """The exit code is 128 + signal, as shells have it; before a signal there is none."""
    with record_signals() as interrupt:
        assert not interrupt
        os.kill(os.getpid(), number)
        assert (bool(interrupt), interrupt.signal, interrupt.exit_code) == (True, number, 128 + number)


def test_the_first_signal_counts():
    """A second Ctrl-C, or a SIGTERM after it, changes nothing."""
    interrupt = Interrupt()
    interrupt.record(signal.SIGINT)
    interrupt.record(signal.SIGTERM)
    assert interrupt.signal is signal.SIGINT


def test_the_handlers_are_restored():
    """After the context, signals mean what they meant before."""
    before = [signal.getsignal(number) for number in HANDLED]
    with record_signals():
        assert [signal.getsignal(number) for number in HANDLED] != before
    assert [signal.getsignal(number) for number in HANDLED] == before
