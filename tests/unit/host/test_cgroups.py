"""Limits by control groups: really enforced where this user may make them, and told with the reason where not."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from tailrace.host import cgroups, supervised, waiting

GENEROUS_S = 60
GREEDY = "import time; time.sleep(0.3); held = b'x' * (300 << 20); time.sleep(600)"


@pytest.fixture
def groups():
    """Make real groups, and remove them at the end."""
    made = []

    def make(**limits):
        found = cgroups.make(f"tailrace-test-{os.getpid()}", limits)
        if found.lacking:
            pytest.skip(found.fact)
        made.extend(found.folders)
        return found

    yield make
    cgroups.remove(made)
    assert not any(Path(folder).exists() for folder in made)


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(command, groups):
        order = supervised.Order([sys.executable, "-c", command], {"PATH": os.environ["PATH"]}, groups=groups.folders)
        started.append(supervised.start(order, tmp_path, "one"))
        return started[-1]

    yield begin
    for process in started:
        supervised.end(process, 1)


def test_a_program_that_takes_more_memory_than_its_limit_is_killed_and_it_is_told(groups, start):
    """300 MB of 64."""
    process = start(GREEDY, groups(memory_mb=64))
    assert waiting.until(lambda: not process.alive, GENEROUS_S)
    assert supervised.described(process) == "ended: killed by signal 9, out of memory: see limits.memory_mb"


def test_the_same_program_runs_where_the_limit_is_higher(groups, start):
    """The negative control: 300 MB of 600."""
    process = start(GREEDY, groups(memory_mb=600))
    running = psutil.Process(supervised.read(process).pid)
    assert waiting.until(lambda: running.memory_info().rss > 300 << 20, GENEROUS_S)
    assert supervised.described(process) == "running"


def test_a_program_cannot_start_more_processes_than_its_limit(groups, start):
    """The supervisor is not counted: it is outside of the group."""
    script = (
        "import os, time\n"
        "try:\n    for n in range(100): os.fork() or time.sleep(600)\n"
        "except OSError: print(n, flush=True); time.sleep(600)"
    )
    process = start(script, groups(pids=16))
    assert waiting.until(lambda: process.tail(), GENEROUS_S) == "15"


def test_a_program_gets_no_more_cpu_time_than_its_limit(groups, start):
    """It is held up, again and again: a fiftieth of a processor is less than it gets on any machine."""
    limited = groups(cpus=0.02)
    process, folder = start("while True: pass", limited), limited.folders[0]
    running = psutil.Process(supervised.read(process).pid)

    def throttled():
        lines = Path(f"{folder}/cpu.stat").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("nr_throttled")))

    assert waiting.until(lambda: throttled() > 3, GENEROUS_S)
    assert running.is_running()


def proc(folder, mounts, own):
    """A /proc/self of a machine that is not this one."""
    folder.mkdir()
    (folder / "mounts").write_text(mounts)
    (folder / "cgroup").write_text(own)
    return folder


def test_v2_takes_the_nearest_folder_that_is_delegated(tmp_path):
    """Where the controller is handed on; limits are written in the words of v2."""
    root = tmp_path / "cgroup"
    session = root / "user.slice" / "user@1000.service"
    (session / "app.slice" / "mine.scope").mkdir(parents=True)
    for folder in (session, session / "app.slice"):
        (folder / "cgroup.procs").touch()
    (session / "cgroup.subtree_control").write_text("cpu memory pids\n")
    here = proc(
        tmp_path / "proc", f"cgroup2 {root} cgroup2 rw 0 0\n", "0::/user.slice/user@1000.service/app.slice/mine.scope\n"
    )
    made = cgroups.make("one", {"memory_mb": 64, "cpus": 1.5, "pids": 32}, here)
    assert made == cgroups.Groups((str(session / "one"),))
    written = {path.name: path.read_text() for path in (session / "one").iterdir()}
    assert written == {"memory.max": str(64 << 20), "cpu.max": "150000 100000", "pids.max": "32"}


@pytest.mark.parametrize("mounts", ["", "cgroup2 {root} cgroup2 rw 0 0\n", "none {root} cgroup rw,cpu 0 0\n"])
def test_where_nothing_is_delegated_it_is_told_for_each_limit(tmp_path, mounts):
    """No limit is left out silently."""
    (tmp_path / "cgroup").mkdir()
    here = proc(tmp_path / "proc", mounts.format(root=tmp_path / "cgroup"), "0::/\n")
    made = cgroups.make("one", {"memory_mb": 64, "pids": 32}, here)
    assert made.folders == ()
    assert made.fact.count("is not enforced: no control group of") == 2
