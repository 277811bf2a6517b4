"""What a run shows: plain lines in a file, a live line with times on a terminal."""

import io

from rich.console import Console

from tailrace.run.record import Clock, Environment, RunCheck, RunRecord, StepOutcome
from tailrace.runner import Display

RECORD = RunRecord(
    id="r1", profile="p", engine="process", verdict="FAIL", exit_code=1, duration_s=75.0,
    steps=(
        StepOutcome(name="01_build", verdict="PASS", duration_s=2.5),
        StepOutcome(name="02_verify", verdict="FAIL", duration_s=1.0, reason="its kernel died [by signal 9]"),
    ),
    checks=(RunCheck(name="the report is written", ok=False, fact="no space"),),
    environment=Environment(packages={}), clock=Clock(),
)  # fmt: skip


def shown(terminal, act):
    """Return what `act` writes on a console that is a terminal, or is not."""
    out, now = io.StringIO(), iter([float(n) for n in range(10_000)])
    console = Console(file=out, force_terminal=terminal, width=100, highlight=False, color_system=None)
    with Display(console, clock=lambda: next(now)) as display:
        act(display)
    return out.getvalue()


def test_a_check_is_one_plain_line_however_long():
    """Away from a terminal nothing wraps and nothing is coloured; marks and brackets stand as they are."""
    fact = "[red]" + "x" * 200
    assert shown(False, lambda d: d.check("no request failed", "PASS", fact)) == f"  ✓ no request failed: {fact}\n"


def test_a_step_says_about_how_long_it_takes():
    """With an earlier run to go by there is an estimate; without one there is none."""

    def step(display):
        display.step("01", "Build", ())
        display.etas = {"01": 65.0}
        display.step("01", "Build", ())

    assert shown(False, step) == "01  Build\n01  Build  about 1:05\n"


def test_the_table_shows_every_step_and_what_failed():
    """The end is a table with verdict, time, checks and reason, and the verdict of the run."""
    table = shown(False, lambda d: d.verdict(RECORD, {"01_build": "3 of 3"}))
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert "01_build PASS 2.5 s 3 of 3" in lines
    assert "02_verify FAIL 1.0 s its kernel died [by signal 9]" in lines
    assert "the report is written FAIL no space" in lines
    assert lines[-1] == "FAIL r1 1:15"


def test_a_terminal_gets_a_line_that_lives():
    """On a terminal the step under way is shown with its time, its estimate and what is left of the run."""

    def step(display):
        display.etas = {"01": 65.0, "02": 100.0}
        display.step("01", "Build", ("02",))
        display._live.refresh()

    line = shown(True, step)
    assert "of about 1:05" in line
    assert "to go" in line
    assert "to go" not in shown(False, step)
