"""A low CPU priority that is taken back for every process and thread, and only lowered where that can be done."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tailrace.host import priority, supervised, waiting

GENEROUS_S = 60
THREADS = (
    "import os, subprocess, threading, time\n"
    "threading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
    "if os.environ.pop('FIRST', ''): subprocess.Popen(['sleep', '600'])\n"
    "print('up', flush=True); time.sleep(600)"
)


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(nice):
        order = supervised.Order([sys.executable, "-c", THREADS], {"PATH": os.environ["PATH"], "FIRST": "1"}, nice=nice)
        started.append(supervised.start(order, tmp_path, "one"))
        assert waiting.until(lambda: started[-1].tail(), GENEROUS_S) == "up"
        return started[-1]

    yield begin
    for process in started:
        supervised.end(process, 1)


def values(process):
    """The nice value of every thread of the program and its children, and that of their session's autogroup."""
    running = psutil.Process(supervised.read(process).pid)
    threads = [t.id for p in (running, *running.children()) for t in p.threads()]
    assert len(threads) >= 3
    autogroup = (
        int(Path(f"/proc/{process.pid}/autogroup").read_text().split()[-1]) if priority.grouped_by_session() else 0
    )
    return {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}, autogroup


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_a_start_is_at_low_priority_and_accepting_it_ends_that(start):
    """By the autogroup of the session where the kernel has them, else by the nice value of each thread."""
    own, grouped = os.getpriority(os.PRIO_PROCESS, 0), priority.grouped_by_session()
    process = start(10)
    if not supervised.read(process).priority.endswith("nice 10"):
        pytest.skip(supervised.read(process).priority)
    assert values(process) == (({own}, 10) if grouped else ({10}, 0))
    assert supervised.accept(process).priority.startswith("normal CPU priority again")
    assert values(process)[1] == 0
    assert grouped or values(process)[0] == {0}


def test_without_it_nothing_is_lowered_and_nothing_said(start):
    """The negative control."""
    process = start(0)
    assert supervised.read(process).priority == ""
    assert supervised.accept(process).priority == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_could_not_raise_it_again_lowers_nothing_and_says_why():
    """Unless the kernel has autogroups: their value may be set back by their owner."""
    script = (
        "import ctypes, os, sys; from tailrace.host import priority; priority.lower(0); priority.grouped_by_session()\n"
        "os.setgid(65534); os.setuid(65534); os.setsid()\n"
        "ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"  # PR_SET_DUMPABLE: as after exec, its files in /proc are its own
        "real = priority.grouped_by_session\n"
        "priority.grouped_by_session = lambda: sys.argv[1] == 'yes' and real()\n"
        "print(priority.lower(10)[1])"
    )
    library = str(supervised.LIBRARY)

    def lowered(autogroups):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": library, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-sS", "-c", script, autogroups]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"another user cannot read this project: {done.stderr[-200:]}")
        return done.stdout.strip()

    assert lowered("no").startswith("not at low CPU priority: a nice value could not be taken back")
    if priority.grouped_by_session():
        assert lowered("yes") == "autogroup nice 10"


@pytest.mark.parametrize(("nice", "weight"), [(0, "100"), (10, "11"), (19, "2")])
def test_a_control_group_gets_the_weight_of_the_nice_value(tmp_path, nice, weight):
    """And the normal one again."""
    (tmp_path / "cpu.weight").touch()
    if nice:
        assert priority.lower(nice, [str(tmp_path)])[0] == str(tmp_path)
        assert (tmp_path / "cpu.weight").read_text() == weight
    assert priority.restore(str(tmp_path), 0, []) == ""
    assert (tmp_path / "cpu.weight").read_text() == "100"
