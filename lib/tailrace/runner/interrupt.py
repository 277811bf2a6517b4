"""Ctrl-C, SIGTERM and SIGHUP are recorded; the code that runs the steps looks at the record and ends them in order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupt:
    """The first signal that arrived, if one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 + signal, the convention of shells: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal or 0)

    def record(self, number: int, frame: FrameType | None = None) -> None:
        """Record the first signal; ignore later ones, since the run is already ending."""
        self.signal = self.signal or signal.Signals(number)


@contextlib.contextmanager
def record_signals() -> Iterator[Interrupt]:
    """Record signals instead of dying of them while the context is open. Call it in the main thread."""
    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt.record) for number in HANDLED}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
