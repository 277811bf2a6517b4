"""The supervisor of a program: when it starts it again, when it tells, and what it never leaves running."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

import disks
from tailrace.errors import StartFailed
from tailrace.host import processes, supervised, supervisor, waiting

GENEROUS_S = 60
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
FORKS_TWICE = """
import os, time
if os.fork():
    time.sleep(0.3); os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
time.sleep(600)
"""


@pytest.fixture
def start(tmp_path):
    """Start a supervised program in a folder that is cleared at the end; a `brief` one begins once it is accepted."""
    go = tmp_path / "go"
    held = ["sh", "-c", f'until [ -e "{go}" ]; do sleep 0.05; done; exec "$@"', "sh"]

    def begin(command, accepted=True, brief=False, **more):
        command = [*held, *command] if brief else command
        order = supervised.Order(command, {"PATH": os.environ["PATH"]}, **more)
        process = supervised.start(order, tmp_path / "records", "one")
        if accepted:
            supervised.accept(process)
            assert waiting.until(lambda: supervised.read(process).accepted, GENEROUS_S)
            go.touch()
        return process

    yield begin
    for process in processes.recorded(tmp_path / "records"):
        supervised.end(process, 1)


def ours(process):
    """The pids of everything that was started for `process`, by its marks."""
    return list(processes.members(process))


def session_of(pid):
    """The session of a process; None when it has ended."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def ends(process):
    return waiting.until(lambda: not process.alive, GENEROUS_S)


@given(st.integers(0, 10_000))
def test_the_pause_grows_and_is_bounded(ends):
    """From 0.1 s on it doubles, up to 30 s."""
    assert 0.1 <= supervisor.pause_s(ends) <= supervisor.pause_s(ends + 1) <= 30.0


def test_the_first_ends_are_told_and_then_ever_fewer():
    """A program that dies without end is told some twenty times, not a million."""
    assert [n for n in range(1, 70) if supervisor.is_told(n)] == [1, 2, 3, 4, 5, 8, 16, 32, 64]
    assert sum(map(supervisor.is_told, range(1, 1_000_000))) < 25


def test_a_program_that_ends_is_started_again(start):
    """With the same words; the state tells how often, and how it ended."""
    process = start(SLEEP)
    first = supervised.read(process)
    os.kill(first.pid, signal.SIGKILL)
    assert waiting.until(lambda: supervised.read(process).restarts == 1 and supervised.alive(process), GENEROUS_S)
    state = supervised.read(process)
    assert (state.last_exit, state.pid != first.pid) == ("killed by signal 9", True)
    assert psutil.Process(state.pid).cmdline() == SLEEP
    assert supervised.described(process) == "running; restarts 1, last exit: killed by signal 9"


def test_a_program_on_trial_is_not_started_again(start):
    """The negative control: its end is final, and its supervisor leaves with it."""
    process = start([sys.executable, "-c", "raise SystemExit(3)"], accepted=False)
    assert ends(process)
    assert (supervised.read(process).restarts, supervised.described(process)) == (0, "ended: left with 3")


def test_a_program_that_keeps_dying_waits_longer_and_longer(start):
    """`status` tells when it starts again."""
    process = start([sys.executable, "-c", "raise SystemExit(3)"], brief=True)
    assert waiting.until(lambda: supervised.read(process).restarts >= 3, GENEROUS_S)
    assert waiting.until(lambda: "last exit: left with 3, next start in" in supervised.described(process), GENEROUS_S)
    assert "it keeps dying, 3 times" in process.log.read_text()


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "sleep 600 & sleep 0.2"],
        ["sh", "-c", "setsid sleep 600 & exit 0"],
        ["sh", "-c", "nohup sleep 600 > /dev/null 2>&1 & sleep 0.2; exit 0"],
        [sys.executable, "-c", FORKS_TWICE],
    ],
    ids=["ampersand", "setsid", "nohup", "double fork"],
)
def test_a_command_that_goes_to_the_background_is_ended_with_the_reason(start, command):
    """Whichever way it takes; nothing of it is left running."""
    process = start(command, accepted=False)
    assert ends(process)
    assert "left with 0 while a process that it started goes on" in supervised.described(process)
    assert "run it in the foreground" in supervised.described(process)
    assert ours(process) == []


@pytest.mark.parametrize(
    ("command", "described"),
    [
        (["sh", "-c", "exec true"], "ended: left with 0"),
        (["sh", "-c", "sleep 0.1 & exit 0"], "ended: left with 0"),
        (["sh", "-c", "sleep 600 & exit 3"], "ended: left with 3"),
    ],
)
def test_a_command_that_just_ends_is_no_daemon(start, command, described):
    """The negative control: nothing goes on, or it has failed; nothing is left running either way."""
    process = start(command, accepted=False)
    assert ends(process)
    assert supervised.described(process) == described
    assert ours(process) == []


def test_a_chain_of_exec_is_one_program(start):
    """It stays the same process."""
    process = start(["sh", "-c", "exec sh -c 'exec sleep 600'"])
    assert waiting.until(lambda: psutil.Process(supervised.read(process).pid).cmdline() == ["sleep", "600"], GENEROUS_S)
    assert supervised.described(process) == "running"


def test_a_daemon_is_not_accepted_before_its_parent_has_left(start):
    """A descendant in another session may be one: the supervisor waits a moment for the command to leave."""
    process = start([sys.executable, "-c", FORKS_TWICE.replace("0.3", "0.8")], accepted=False)
    own = os.getsid(process.pid), os.getsid(supervised.read(process).pid)
    assert waiting.until(lambda: any(session_of(pid) not in (*own, None) for pid in ours(process)), GENEROUS_S)
    assert not supervised.accept(process).accepted
    assert ends(process)
    assert ours(process) == []


def test_a_program_that_signals_its_own_group_does_not_end_its_supervisor(start):
    """As `trap 'kill 0' EXIT` in a script does."""
    process = start(["sh", "-c", "kill 0; sleep 600"], brief=True)
    assert waiting.until(lambda: supervised.read(process).restarts >= 1, GENEROUS_S)
    assert process.alive


def test_end_leaves_nothing_neither_of_a_stubborn_program_nor_of_one_with_workers(start):
    """SIGTERM goes to the program's group, SIGKILL to all that is left."""
    process = start([sys.executable, "-c", STUBBORN])
    assert waiting.until(lambda: process.tail(), GENEROUS_S) == "up"
    assert supervised.end(process, 0.3) == "killed"
    assert ours(process) == []
    process = start(["sh", "-c", "setsid sleep 600 & sleep 600 & wait"])
    assert supervised.end(process, 30) == "terminated"
    assert ours(process) == []
    assert [path.name for path in process.folder.iterdir()] == ["one.log"]


def test_a_program_outlives_its_supervisor_and_is_found_and_ended(start):
    """It is told that nothing starts it again."""
    process = start(SLEEP)
    os.kill(process.pid, signal.SIGKILL)
    assert ends(process)
    assert supervised.alive(process)
    assert "its supervisor is gone" in supervised.described(process)
    assert supervised.end(process, 30) == "terminated"
    assert ours(process) == []


def test_frozen_it_is_suspended_with_its_supervisor(start):
    """So that a crash of a suspended program is not mended behind the back of a test."""
    process = start(SLEEP)
    pids = [process.pid, supervised.read(process).pid]

    def stopped():
        return {pid for pid in pids if psutil.Process(pid).status() == psutil.STATUS_STOPPED}

    processes.freeze(process)  # a signal is acted upon a moment after it was sent
    assert waiting.until(lambda: stopped() == set(pids), GENEROUS_S)
    processes.thaw(process)
    assert waiting.until(lambda: not stopped(), GENEROUS_S)


def test_no_process_is_left_unreaped(start):
    """Neither the program's former self, nor what it started and left behind."""
    process = start(["sh", "-c", "sleep 0.05 & sleep 0.05 & sleep 0.2; kill -9 $$"], brief=True)
    assert waiting.until(lambda: supervised.read(process).restarts >= 2, GENEROUS_S)

    def zombies():
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if child.status() == psutil.STATUS_ZOMBIE]

    assert waiting.until(lambda: not zombies(), GENEROUS_S)


def test_it_holds_no_more_files_after_many_restarts(start):
    """Nor pipes."""
    process = start([sys.executable, "-c", "raise SystemExit(1)"], brief=True, helper=[sys.executable, "-c", "pass"])
    assert waiting.until(lambda: supervised.read(process).restarts >= 1, GENEROUS_S)
    before = psutil.Process(process.pid).num_fds()
    assert waiting.until(lambda: supervised.read(process).restarts >= 4, GENEROUS_S)
    assert waiting.until(lambda: psutil.Process(process.pid).num_fds() <= before, GENEROUS_S)


def test_the_helper_learns_the_reason_and_says_what_to_start(start, tmp_path):
    """Other words, another directory, more variables; or why not."""
    told = tmp_path / "told"
    answer = {
        "command": ["sh", "-c", "echo $X $PWD; sleep 600"],
        "directory": str(tmp_path),
        "environment": {"X": "moved"},
    }
    script = f"import pathlib, sys; pathlib.Path({str(told)!r}).write_text(sys.argv[1]); print({json.dumps(answer)!r})"
    process = start(SLEEP, helper=[sys.executable, "-c", script])
    supervised.crash(process)
    assert waiting.until(lambda: f"moved {tmp_path}" in process.tail(), GENEROUS_S)
    assert "killed by signal 9" in told.read_text()


def test_a_helper_that_refuses_is_asked_again(start):
    """The program does not run, and the reason is in its state."""
    process = start(SLEEP, helper=[sys.executable, "-c", 'print(\'{"problem": "its files are gone"}\')'])
    supervised.crash(process)
    assert waiting.until(lambda: "its files are gone" in supervised.described(process), GENEROUS_S)
    assert not supervised.alive(process)


def test_a_helper_that_fails_does_not_keep_the_program_from_running(start):
    """It is started as it was."""
    process = start(SLEEP, helper=[sys.executable, "-c", "raise SystemExit(1)"])
    supervised.crash(process)
    assert waiting.until(lambda: supervised.read(process).restarts == 1 and supervised.alive(process), GENEROUS_S)


def test_a_command_that_cannot_be_started_says_so(start, tmp_path):
    """At once, and nothing is left."""
    with pytest.raises(StartFailed, match="cannot start /no/such/program: No such file"):
        start(["/no/such/program"])
    assert not list(Path(tmp_path / "records").glob("*.json"))
    assert not list(Path(tmp_path / "records").glob("*.state"))


def test_how_it_ended_is_told_also_when_its_supervisor_was_slow_to_notice(start):
    """Whoever asks right after the end waits for the reason."""
    process = start(SLEEP, accepted=False)
    os.kill(process.pid, signal.SIGSTOP)
    supervised.crash(process)
    threading.Timer(0.3, os.kill, [process.pid, signal.SIGCONT]).start()
    assert supervised.described(process) == "ended: killed by signal 9"


@pytest.mark.tmpfs
def test_a_state_that_finds_no_room_is_written_once_there_is(small_disk, start, tmp_path):
    """A program that was started again on a full disk goes on; whoever asks learns its new pid when there is room."""
    disk = small_disk(tmp_path / "records", "1m")
    process = start(SLEEP)
    first = supervised.read(process)
    disks.fill(disk)
    os.kill(first.pid, signal.SIGKILL)
    assert waiting.until(lambda: first.pid not in ours(process) and len(ours(process)) > 1, GENEROUS_S)
    assert supervised.read(process).restarts == 0, "the control: it is not written down yet"
    (disk / disks.FILLER).unlink()
    assert waiting.until(lambda: supervised.read(process).restarts == 1 and supervised.alive(process), GENEROUS_S)


@pytest.mark.tmpfs
def test_a_program_is_not_accepted_where_that_cannot_be_written_down(small_disk, start, tmp_path):
    """The disk is full, and that is said at once; with room it is accepted."""
    disk = small_disk(tmp_path / "records", "1m")
    process = start(SLEEP, accepted=False)
    disks.fill(disk)
    with pytest.raises(OSError, match="No space left"):
        supervised.accept(process)
    (disk / disks.FILLER).unlink()
    assert supervised.accept(process).accepted
