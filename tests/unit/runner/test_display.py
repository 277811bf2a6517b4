"""A run prints plain lines to a file, and keeps a live line with times on a terminal."""

import io

from rich.console import Console

from tailrace.run.record import Clock, Environment, RunCheck, RunRecord, StepOutcome
from tailrace.runner.display import Display

RECORD = RunRecord(
    id="r1", profile="p", engine="process", verdict="FAIL", exit_code=1, duration_s=75.0,
    steps=(
        StepOutcome(name="01_build", verdict="PASS", duration_s=2.5),
        StepOutcome(name="02_verify", verdict="FAIL", duration_s=1.0, reason="its kernel died [by signal 9]"),
    ),
    checks=(RunCheck(name="the report is written", ok=False, fact="no space"),),
    environment=Environment(packages={}), clock=Clock(),
)  # fmt: skip


def output(terminal, act):
    """Return the text that `act` prints on a console, which may be a terminal."""
    out, now = io.StringIO(), iter([float(n) for n in range(10_000)])
    console = Console(file=out, force_terminal=terminal, width=100, highlight=False, color_system=None)
    with Display(console, clock=lambda: next(now)) as display:
        act(display)
    return out.getvalue()


def test_a_check_is_one_plain_line_however_long():
    """Without a terminal, nothing is wrapped or coloured, and brackets are printed as they are."""
    fact = "[red]" + "x" * 200
    assert output(False, lambda d: d.check("no request failed", "PASS", fact)) == f"  ✓ no request failed: {fact}\n"


def test_why_a_check_failed_stands_below_it():
    """The reason has a line of its own; a check without one has none."""
    shown = output(False, lambda d: d.check("no request failed", "FAIL", "2 of 4 failed", "2 × 503 by the edge"))
    assert shown == "  ✗ no request failed: 2 of 4 failed\n    why: 2 × 503 by the edge\n"


def test_a_step_starts_with_an_estimate_of_its_time():
    """The estimate comes from an earlier run; without one there is none."""

    def step(display):
        display.step_started("01", "Build", ())
        display.etas = {"01": 65.0}
        display.step_started("01", "Build", ())

    assert output(False, step) == "01  Build\n01  Build  about 1:05\n"


def test_the_table_shows_every_step_and_what_failed():
    """The summary is a table with verdict, time, checks and reason, and then the verdict of the run."""
    table = output(False, lambda d: d.summary(RECORD, {"01_build": "3 of 3"}))
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert "01_build PASS 2.5 s 3 of 3" in lines
    assert "02_verify FAIL 1.0 s its kernel died [by signal 9]" in lines
    assert "the report is written FAIL no space" in lines
    assert lines[-1] == "FAIL r1 1:15"


def test_a_terminal_has_a_live_line():
    """It shows the current step with its elapsed time, its estimate and the remaining time of the run."""

    def step(display):
        display.etas = {"01": 65.0, "02": 100.0}
        display.step_started("01", "Build", ("02",))
        display._live.refresh()

    line = output(True, step)
    assert "of about 1:05" in line
    assert "to go" in line
    assert "to go" not in output(False, step)
