"""Detached processes: found again, told apart from strangers, and ended with all of their group."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from tailrace.errors import StartFailed
from tailrace.host import ports, processes, waiting

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
PARENT = [sys.executable, "-c", f"import subprocess, time; subprocess.Popen({SLEEP!r}); time.sleep(60)"]
ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def spawn(tmp_path):
    """Spawn into a folder that is cleared at the end."""
    yield lambda command=SLEEP, name="one", **more: processes.spawn(
        command, environment=ENVIRONMENT, folder=tmp_path, name=name, **more
    )
    for process in processes.recorded(tmp_path):
        processes.end(process, 0)


def test_a_process_is_found_by_whoever_looks_into_the_folder(spawn, tmp_path):
    """Its record has all that is needed to end it."""
    process = spawn(labels={"part": "x"})
    (recorded,) = processes.recorded(tmp_path)
    assert (recorded, recorded.labels, recorded.alive) == (process, {"part": "x"}, True)
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    assert processes.end(recorded, 2) == "terminated"
    assert processes.recorded(tmp_path) == []
    assert not process.alive


def test_one_that_ignores_sigterm_is_killed_after_its_grace(spawn):
    """And it is said which it was."""
    process = spawn(STUBBORN)
    assert waiting.until(lambda: process.tail(), 60) == "up"
    assert processes.end(process, 0.2) == "killed"


def test_children_are_ended_with_their_leader(spawn):
    """Even when the leader died before."""
    process = spawn(PARENT)
    children = waiting.until(lambda: list(psutil.Process(process.pid).children()), 60)
    os.kill(process.pid, 9)
    assert waiting.until(lambda: not process.alive, 60)
    assert children[0].is_running()
    assert processes.end(process, 1) == "gone"
    assert waiting.until(lambda: processes.started(children[0].pid) is None, 60)


def test_a_pid_that_now_belongs_to_somebody_else_is_not_ours(spawn, tmp_path):
    """The record says when the process was started; a stranger with its pid is left alone."""
    stranger = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        time.sleep(0.05)  # the kernel tells starts apart by ticks of 10 ms
        process = spawn()
        record = json.loads(process.record.read_text())
        (tmp_path / "other.json").write_text(json.dumps({**record, "name": "other", "pid": stranger.pid}))
        other = processes.find(tmp_path, "other")
        assert not other.alive
        assert processes.end(other, 1) == "gone"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_one_whose_starter_died_before_the_record_is_found_by_its_mark(spawn, tmp_path):
    """Its environment names the folder."""
    process = spawn()
    process.record.unlink()
    (recorded,) = processes.recorded(tmp_path)
    assert recorded.pid == process.pid
    assert processes.end(recorded, 2) == "terminated"


def test_a_frozen_process_is_ended_too(spawn):
    """It is thawed to hear the signal."""
    process = spawn()
    processes.freeze(process)
    assert process.alive
    assert processes.end(process, 2) == "terminated"


def test_it_gets_exactly_the_environment_that_it_is_given(spawn, monkeypatch):
    """Nothing of ours leaks into it."""
    monkeypatch.setenv("OURS", "1")
    process = spawn([sys.executable, "-c", "import os; print(sorted(os.environ))"])
    assert waiting.until(lambda: process.tail(), 60) in (
        "['LC_CTYPE', 'PATH', 'SPAWNED_AS', 'SPAWNED_INTO']",
        "['PATH', 'SPAWNED_AS', 'SPAWNED_INTO']",
    )
    time.sleep(0)


def test_a_command_that_cannot_be_started_says_so(spawn):
    """With the subject and the reason."""
    with pytest.raises(StartFailed, match="one: cannot start /nowhere: No such file"):
        spawn(["/nowhere"])


def test_a_port_of_a_child_that_outlived_its_leader_is_free_after_the_end(spawn):
    """Whoever ends a group may take its ports at once, however large the child that had them was."""
    child = (
        "import socket, time; held = bytearray(300_000_000); s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); time.sleep(60)"
    )
    parent = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()",
    ]
    process = spawn(parent)
    port = int(waiting.until(lambda: process.tail(), 60))
    os.kill(process.pid, 9)
    assert not ports.is_free("127.0.0.1", port)
    processes.end(process, 1)
    assert ports.is_free("127.0.0.1", port)
