"""A generator on a schedule comes first, where this is allowed."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tailrace import analysis
from tailrace.host import waiting
from tailrace.load import Traffic, arrivals, start

BUSY = [sys.executable, "-c", "while True: pass"]


def policies(schedule, target, out: Path) -> tuple[int, set[int]]:
    """Return the scheduling policy of the generator's main thread, and those of all its others, in mid-flight."""
    with start(Traffic(schedule), target.url, out) as load_run:
        (worker,) = _workers()
        others = [int(task.name) for task in Path(f"/proc/{worker}/task").iterdir() if int(task.name) != worker]
        policies = _policy(worker), {_policy(other) for other in others}
        load_run.stop()
    return policies


def _workers() -> list[int]:
    """Return the process numbers of the generators that run."""
    return [child.pid for child in psutil.Process().children() if _generates(child)]


def _generates(process: psutil.Process) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE and "tailrace.load.worker" in process.cmdline()


def _policy(task: int) -> int:
    return os.sched_getscheduler(task) & ~os.SCHED_RESET_ON_FORK


@pytest.fixture
def allowed():
    """Leave the test out where no process may come first."""
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(1))
        except OSError as error:
            pytest.skip(f"not allowed here: {error}")
        finally:
            process.kill()


def test_a_schedule_comes_first(allowed, target, tmp_path):
    """The thread that sends on schedule has real-time priority; those that write its records have not."""
    assert policies(arrivals.constant(50, 3), target, tmp_path) == (os.SCHED_RR, {os.SCHED_OTHER})


def test_a_closed_loop_does_not(allowed, target, tmp_path):
    """Users who send as fast as they get answers would take the core from whoever answers."""
    assert policies(arrivals.users(2, 3), target, tmp_path) == (os.SCHED_OTHER, {os.SCHED_OTHER})


@pytest.mark.alone
def test_on_a_busy_machine_it_is_less_late_than_without(allowed, target, tmp_path):
    """With more busy processes than cores, it sends closer to its schedule than a generator that lost its priority."""
    busy = [subprocess.Popen(BUSY, start_new_session=True) for _ in range((os.cpu_count() or 1) + 1)]
    schedule = arrivals.poisson(200, 3, seed=2)
    try:
        with start(Traffic(schedule), target.url, tmp_path / "without"):
            (worker,) = _workers()
            assert waiting.until(lambda: _policy(worker) == os.SCHED_RR, 60)
            os.sched_setscheduler(worker, os.SCHED_OTHER, os.sched_param(0))
        start(Traffic(schedule), target.url, tmp_path / "with").wait()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    # Not p99: one stall of the machine, which no priority prevents, holds that many requests up.
    late_us = {name: analysis.read(tmp_path / name)["send_lag_us"].quantile(0.95) for name in ("with", "without")}
    assert late_us["with"] < late_us["without"]
