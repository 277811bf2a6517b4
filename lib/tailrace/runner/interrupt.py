"""Ctrl-C, SIGTERM and SIGHUP end a run at every moment: the first in order, within a time, a second one at once."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S: Final = 20.0
"""So long after a signal the end of the run may still scan and draw; what is not done then is cut."""
SAME_S: Final = 1.0
"""Signals this close are one: `timeout` sends its signal twice, to the process and to its group."""


class EndedAtOnce(KeyboardInterrupt):
    """A signal before anything had begun, or a second one. No `except Exception` holds it up."""

    def __init__(self, number: signal.Signals, text: str) -> None:
        super().__init__(text)
        self.exit_code = 128 + number


class Interrupt:
    """The first signal that arrived, if one did."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.signal: signal.Signals | None = None
        self.begun = False
        """Set when there is a run to end in order; before that, the first signal ends at once."""
        self.at_once = False
        """Set when a signal has ended the run at once."""
        self._clock = clock
        self._at_s = 0.0

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 + signal, the convention of shells: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal or 0)

    def overdue(self) -> bool:
        """Return whether a signal arrived, and its patience is over."""
        return self.signal is not None and self._clock() - self._at_s > PATIENCE_S

    def record(self, number: int, frame: FrameType | None = None) -> None:
        """Record the first signal; raise EndedAtOnce at a second one, and at the first where nothing has begun.

        Those after that change nothing: what was started is being ended.
        """
        again = self.signal is not None and self._clock() - self._at_s > SAME_S
        if self.signal is None:
            self.signal, self._at_s = signal.Signals(number), self._clock()
        if self.at_once or (self.begun and not again):
            return
        self.at_once = True
        name = self.signal.name
        left = "ended at once; the next run, or tailrace down, cleans up"
        raise EndedAtOnce(self.signal, f"{name} again: {left}" if again else f"{name}: nothing had begun")


@contextlib.contextmanager
def record_signals() -> Iterator[Interrupt]:
    """Handle signals in this way while the context is open. Call it in the main thread."""
    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt.record) for number in HANDLED}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
