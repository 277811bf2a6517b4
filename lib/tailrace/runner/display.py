"""The output of a run: each check when it is decided and, on a terminal, a live line with elapsed time and ETA."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tailrace.host import excerpts
from tailrace.masking import Mask
from tailrace.run.record import RunRecord, StepOutcome
from tailrace.verdict import FAIL, INCONCLUSIVE, PASS, SIGNS, SKIPPED, State, of_ok

STYLES: Mapping[str, str] = {PASS: "green", FAIL: "bold red", INCONCLUSIVE: "yellow", SKIPPED: "dim"}

FACT_BYTES = 8_000
"""A longer fact or reason is cut on the screen."""


class Display:
    """Prints lines on a console, and keeps a live line below them when it is a terminal.

    `etas` are the seconds of each step in the last passing run; {} without such a run.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.mask = Mask()
        self.clock = clock
        self.etas: Mapping[str, float] = {}
        self._started = self._step_started = clock()
        self._step = ""
        self._ahead = 0.0
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._line, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def print_line(self, text: str, style: str = "") -> None:
        """Print one line."""
        self.console.print(Text(self._shown(text), style=style), soft_wrap=True)

    def step_started(self, name: str, title: str, later_steps: tuple[str, ...]) -> None:
        """Print the heading of a step."""
        self._step, self._step_started = name, self.clock()
        self._ahead = sum(self.etas.get(later, 0.0) for later in later_steps)
        about = f"  about {_time(self.etas[name])}" if name in self.etas else ""
        self.print_line(f"{name}{f'  {title}' if title else ''}{about}", "bold")

    def activity(self, name: str) -> None:
        """Show in the live line what happens between and after the steps."""
        self._step, self._step_started = name, self.clock()

    def check(self, name: str, state: State, fact: str, why: str = "") -> None:
        """Print a decided check, the fact that decided it and, below them, why it failed."""
        line = Text(f"  {SIGNS[state]} ", style=STYLES[state])
        line.append(f"{self._shown(name)}: ", style="default").append(self._shown(fact), style="dim")
        self.console.print(line, soft_wrap=True)
        if why:
            reason = Text("    why: ", style=STYLES[state]).append(self._shown(why), style="default")
            self.console.print(reason, soft_wrap=True)

    def step_ended(self, step: StepOutcome) -> None:
        """Print the outcome of a step."""
        self._step = ""
        line = Text("  ").append(step.verdict, style=STYLES[step.verdict]).append(f"  {step.duration_s:.1f} s", "dim")
        self.console.print(line.append(f"  {self._shown(step.reason)}" if step.reason else ""), soft_wrap=True)

    def summary(self, record: RunRecord, passed_checks: Mapping[str, str]) -> None:
        """Print the table of verdicts and the verdict; `passed_checks` has "7 of 8" for each step."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("step", "verdict", "time", "checks", ""):
            table.add_column(column, overflow="fold", justify="right" if column == "time" else "left")
        for step in record.steps:
            verdict = Text(step.verdict, style=STYLES[step.verdict])
            table.add_row(
                step.name,
                verdict,
                f"{step.duration_s:.1f} s",
                passed_checks.get(step.name, ""),
                Text(self._shown(step.reason)),
            )
        for check in record.checks:
            state = of_ok(check.ok)
            table.add_row(
                check.name, Text(state, style=STYLES[state]), "", "", Text("" if check.ok else self._shown(check.fact))
            )
        self.console.print()
        self.console.print(table, width=None if self.console.is_terminal else 160)
        self.console.print()
        total = Text(record.verdict or "", style=STYLES.get(record.verdict or "", ""))
        total.append(f"  {record.id}  {_time(record.duration_s or 0.0)}", "default")
        total.append(f"  {self._shown(record.reason)}" if record.reason else "", "default")
        self.console.print(total, soft_wrap=True)

    def _shown(self, text: str) -> str:
        """Return a text of others as it may be shown: masked, without escapes, and bounded."""
        return excerpts.shortened(self.mask(excerpts.harmless(text)), FACT_BYTES)

    def _line(self) -> Spinner:
        now = self.clock()
        text = Text(f" {self._step or 'tailrace'}  {_time(now - self._step_started)}")
        if self._step in self.etas:
            remaining_s = max(0.0, self.etas[self._step] - (now - self._step_started))
            text.append(f" of about {_time(self.etas[self._step])}")
            text.append(
                f"   whole run {_time(now - self._started)}, about {_time(remaining_s + self._ahead)} to go", "dim"
            )
        self._spinner.update(text=text)
        return self._spinner


def _time(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
