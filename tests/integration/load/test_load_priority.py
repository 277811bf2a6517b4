"""A generator on a schedule comes first, where this is allowed."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tailrace.load import Traffic, arrivals, start

BUSY = [sys.executable, "-c", "while True: pass"]


def policies(schedule, target, out: Path) -> tuple[int, set[int]]:
    """Return the scheduling policy of the generator's main thread, and those of all its others, in mid-flight."""
    with start(Traffic(schedule), target.url, out) as load_run:
        children = psutil.Process().children()
        (worker,) = [child.pid for child in children if _generates(child)]
        others = [int(task.name) for task in Path(f"/proc/{worker}/task").iterdir() if int(task.name) != worker]
        found = _policy(worker), {_policy(other) for other in others}
        load_run.stop()
    return found


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


def test_a_busy_machine_does_not_delay_it(allowed, target, tmp_path):
    """With more busy processes than cores, requests still go out on time."""
    busy = [subprocess.Popen(BUSY, start_new_session=True) for _ in range((os.cpu_count() or 1) + 1)]
    try:
        summary = start(Traffic(arrivals.poisson(200, 3, seed=2)), target.url, tmp_path).wait()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert summary.send_lag_p99_ms < 5, summary
