"""What the machine did is read from the machine: who used its processors, by name, and never by argument."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.host import waiting
from tailrace.host.machine import GROUPS, MACHINE, Machine

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="who uses the processors stands in /proc")
BURN = "import time\nwhile True: sum(range(1000))  # --token=sk-not-to-be-shown"


@pytest.fixture
def burner():
    """A program in a session of its own that uses all that it gets of one processor."""
    child = subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
    yield child
    child.kill()
    child.wait()


def rows_of(machine: Machine, subject: str) -> list[float]:
    """Return the processors that the subject used, as soon as a reading names it."""
    return waiting.until(lambda: [row.cores for row in machine.rows() if row.subject == subject], 20, every_s=0.2)


def test_a_program_that_burns_a_processor_is_named(burner):
    """The group of a known leader has its name, and most of a processor while nobody else wants it."""
    machine = Machine(lambda: {str(burner.pid): "green-3"})
    assert machine.rows() == []
    assert rows_of(machine, "green-3")[0] > 0.05
    assert not any("python" in row.subject and str(burner.pid) in row.subject for row in machine.rows())


def test_an_unknown_program_is_named_without_its_arguments(burner):
    """An argument may hold a secret: of a program that is not known, name and pid are told."""
    machine = Machine()
    machine.rows()
    mine = f"(pid {burner.pid})"
    found = waiting.until(lambda: [row.subject for row in machine.rows() if mine in row.subject], 20, every_s=0.2)
    assert found
    assert "sk-" not in found[0]


def test_the_whole_machine_is_one_row():
    """There is one row of all programs in each reading, with memory, processors and the length of the interval."""
    machine = Machine()
    machine.rows()
    (whole,) = waiting.until(lambda: [row for row in machine.rows() if row.subject == MACHINE], 20, every_s=0.2)
    assert 0 <= whole.cores <= whole.of_cores * 1.2
    assert 0 < whole.memory_mb < whole.of_memory_mb
    assert whole.span_s > 0
    assert math.isnan(whole.throttled) or whole.throttled >= 0


def test_the_number_of_rows_is_bounded():
    """However many programs run, a reading names the busiest, and the rest together."""
    machine = Machine()
    machine.rows()
    waiting.until(lambda: len(machine.rows()) > 1, 5, every_s=0.1)
    assert all(len(machine.rows()) <= GROUPS + 2 for _ in range(5))
