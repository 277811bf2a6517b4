"""Ctrl-C, SIGTERM and SIGHUP, noted: who runs the steps looks at the note, and ends things in their order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupt:
    """The first signal that came, if one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 + signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal or 0)

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Keep the first signal; later ones change nothing, the end is under way."""
        self.signal = self.signal or signal.Signals(number)


@contextlib.contextmanager
def watched() -> Iterator[Interrupt]:
    """Note signals instead of dying of them, while the context is open. For the main thread."""
    interrupt = Interrupt()
    before = {number: signal.signal(number, interrupt.note) for number in WATCHED}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
