"""A command that a rollout waits for: what is kept of its output, and that nothing of it runs on."""

import sys
import time

import pytest

from tailrace.deploy import hook_process
from tailrace.host import processes, waiting

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


def python(script):
    return [sys.executable, "-c", script]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "hooks" / "x-before_deploy.log"


def run(command, log, environment=ENVIRONMENT):
    with hook_process.running(command, environment, log.parent.parent, log) as running:
        assert waiting.until(running.ended, 60)
    return running


def test_the_status_and_the_output_are_kept(log):
    """In the folder that was asked for, with exactly the environment that was given."""
    script = "import os; print(os.getcwd(), sorted(k for k in os.environ if k.startswith('TR_'))); raise SystemExit(3)"
    done = run(python(script), log, {**ENVIRONMENT, "TR_A": "1"})
    assert done.status == "status 3"
    assert log.read_text() == f"{log.parent.parent} ['TR_A']\n"
    assert oct(log.stat().st_mode)[-3:] == "600"
    assert done.excerpt({}) == f"{log}:\n{log.read_text().strip()}"


def test_a_long_output_is_kept_from_both_ends(log):
    """The log stays small, and the excerpt is the end of what was said; a short output is kept whole."""
    done = run(python("print('begin'); print('x' * 9_000_000); print('the end')"), log)
    assert log.stat().st_size < hook_process.HEAD_BYTES + hook_process.TAIL_BYTES + 100
    assert log.read_text().startswith("begin\n")
    assert " bytes left out …" in log.read_text()
    assert done.excerpt({}).endswith("the end")
    assert len(done.excerpt({})) < 5_000
    assert "left out" not in run(python("print('x' * 1000)"), log.with_name("short.log")).log.read_text()


def test_no_secret_is_in_an_excerpt(log):
    """One that was handed on by its name, and one that looks like a credential; other words stay."""
    script = (
        "import os; print('using', os.environ['TR_PIN'], 'sk-' + 'a' * 30, '-----BEGIN PRIVATE ' + 'KEY-----\\nMIIE')"
    )
    excerpt = run(python(script), log, {**ENVIRONMENT, "TR_PIN": "pa55"}).excerpt({"TR_PIN": "pa55"})
    assert excerpt.splitlines()[-1] == "using ${TR_PIN} [OpenAI-style key] [private key]"
    assert "pa55" not in excerpt


@pytest.mark.parametrize("ignores", [False, True], ids=["ends-at-sigterm", "ignores-sigterm"])
def test_nothing_of_a_command_runs_on(log, ignores):
    """Neither itself, nor its child, nor one that left the session; the negative control is that they ran before."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if ignores else ""
    script = (
        f"{deaf}import subprocess, time\nsleep = ['sleep', '600']\n"
        "subprocess.Popen(sleep); subprocess.Popen(sleep, start_new_session=True); time.sleep(600)"
    )
    with hook_process.running(python(script), ENVIRONMENT, log.parent.parent, log) as running:
        assert waiting.until(lambda: len(processes.members(running.process)) == 3, 60)
        left = processes.members(running.process)
    assert [pid for pid, since in left.items() if processes.started(pid) == since] == []


def test_what_a_dead_controller_left_is_ended_before_the_next_command(log):
    """It is found by its marks, without a record."""
    import subprocess

    log.parent.mkdir()
    marked = {**ENVIRONMENT, **processes.marks(log.parent, "old-before_deploy")}
    with subprocess.Popen(["sleep", "600"], env=marked, start_new_session=True) as stray:
        assert processes.started(stray.pid)
        assert run(["true"], log).status == "status 0"
        assert processes.started(stray.pid) is None
    assert hook_process.end_strays(log.parent) == []


def test_a_command_that_cannot_be_started_says_so(log):
    """With what the system said; no log is needed for that."""
    with pytest.raises(OSError, match="No such file"):
        run(["./nothing-here"], log)


def test_only_the_newest_logs_are_kept(log):
    """A deployment that lives for years keeps a bounded number of them."""
    log.parent.mkdir()
    for number in range(hook_process.KEPT_LOGS + 5):
        (log.parent / f"{number}.log").write_text("x")
        time.sleep(0.001)
    run(["true"], log)
    kept = {path.name for path in log.parent.glob("*.log")}
    assert len(kept) == hook_process.KEPT_LOGS
    assert log.name in kept
    assert "0.log" not in kept
