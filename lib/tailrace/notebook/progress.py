"""The progress of a build in a notebook: a line per image and one for the current step, replaced as it goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tailrace.notebook.output import ReplacedText

WIDTH = 100
EVERY_S = 0.5
BAR = 20
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_BEGUN = re.compile(r"building (\S+)")

Show = Callable[[str], None]


class Progress:
    """Takes the lines of a build's log and shows a few at a time; in the end, one per image.

    Without any line nothing is shown: a release that exists already is not built.
    """

    def __init__(self, show: Show | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._show, self._clock = show or ReplacedText(), clock
        self._done: list[str] = []
        self._name, self._act, self._step, self._of = "", "", 0, 0
        self._begun_s = self._shown_s = clock()

    def __call__(self, line: str) -> None:
        """Take the next line of the log, or several."""
        for text in line.splitlines():
            if begun := _BEGUN.fullmatch(text):
                self._end()
                self._name, self._step, self._of, self._begun_s = begun[1], 0, 0, self._clock()
            elif step := _STEP.match(text):
                self._step, self._of, self._act = int(step[1]), int(step[2]), step[3]
            elif text.strip():
                self._act = text.strip()
        if self._clock() - self._shown_s >= EVERY_S:
            self._shown_s = self._clock()
            self._show("\n".join([*self._done, *self._current()]))

    def close(self) -> None:
        """Show the final state."""
        self._end()
        if self._done:
            self._show("\n".join(self._done))

    def _current(self) -> list[str]:
        filled = BAR * self._step // self._of if self._of else 0
        bar = "█" * filled + "░" * (BAR - filled)
        took_s = self._clock() - self._begun_s
        name = f"{self._name}  " if self._name else ""
        return [f"{name}{bar}  {self._step} of {self._of or '?'}  {took_s:.0f} s", f"  {self._act[:WIDTH]}"]

    def _end(self) -> None:
        if self._name:
            self._done.append(f"{self._name}  {self._step} steps  {self._clock() - self._begun_s:.0f} s")
        self._name = self._act = ""
