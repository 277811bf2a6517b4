"""`tailrace run` with tiny notebooks: each way in which a notebook can end, and what it means for the run."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest

from tailrace.host import processes

PASS = 'finish("PASS")'
HANG = """\
import subprocess, time
subprocess.Popen(["sleep", "300"])
events.append(Path(run_dir), "hanging")
time.sleep(300)"""


def test_a_run_of_passing_steps_passes(project):
    """Steps that pass make the run PASS with exit status 0; its folder holds the executed notebooks and the report."""
    project.step("01_one", PASS, title="Do one thing")
    project.step("02_two", PASS)
    process = project.start()
    output, errors = process.communicate(timeout=60)
    record = project.record()
    assert (process.returncode, record["verdict"], record["exit_code"]) == (0, "PASS", 0), errors
    assert [(step["name"], step["verdict"]) for step in record["steps"]] == [("01_one", "PASS"), ("02_two", "PASS")]
    assert {check["name"]: check["ok"] for check in record["checks"]} == {
        "nothing is left running": True,
        "no credential in any artefact": True,
        "the report is written": True,
    }
    assert (project.latest / "notebooks" / "02_two.ipynb").exists()
    assert "  ✓ it works: 1 of 1\n" in output
    assert output.endswith("report: runs/latest/report.html\n")
    assert errors == ""


def test_a_notebook_as_editors_and_converters_write_it_is_executed(project):
    """A byte order mark, and cells without metadata, do not keep papermill from it; the source stays as it was."""
    project.step("01_one", PASS)
    source = project.root / "notebooks" / "01_one.ipynb"
    document = json.loads(source.read_text())
    for cell in document["cells"][1:]:
        del cell["metadata"]
    content = b"\xef\xbb\xbf" + json.dumps(document).encode()
    source.write_bytes(content)
    done = project.run()
    assert (done.exit_code, project.record()["verdict"]) == (0, "PASS"), done.output
    assert source.read_bytes() == content
    assert list((project.latest / "notebooks").glob(".*")) == []


def test_what_could_not_run_is_told_once(project):
    """Exit status 3, INCONCLUSIVE; the next step is not reached, and the last one says whose records it lacks."""
    project.step("01_build", 'from tailrace.errors import PartMissing\nraise PartMissing("set SSL_CERT_FILE")')
    project.step("02_load", PASS)
    project.step(
        "05_report",
        'from tailrace.errors import RecordsError\nraise RecordsError("records: x is missing")',
        always=True,
    )
    done = project.run()
    record = project.record()
    assert (done.exit_code, record["verdict"], record["exit_code"]) == (3, "INCONCLUSIVE", 3), done.output
    assert {step["name"]: step["reason"] for step in record["steps"]} == {
        "01_build": "could not run: set SSL_CERT_FILE",
        "02_load": "not reached: 01_build could not run",
        "05_report": "skipped: there are no records for it, because 01_build could not run",
    }
    assert record["reason"] == "01_build could not run: set SSL_CERT_FILE"
    assert "set SSL_CERT_FILE" in (project.latest / "report.html").read_text()


def test_a_failed_step_ends_the_run_but_for_steps_that_always_run(project):
    """After a FAIL the next step is not reached, one marked `always` is, and the exit status is 1."""
    project.step(
        "01_bad", 'finish("FAIL")\nclass StepFailed(Exception): pass\nraise StepFailed("1 of 1 checks failed")'
    )
    project.step("02_next", PASS)
    project.step("03_report", PASS, always=True)
    done = project.run()
    outcomes = [(step["name"], step["verdict"], step["reason"]) for step in project.record()["steps"]]
    assert done.exit_code == 1
    assert outcomes == [
        ("01_bad", "FAIL", ""),
        ("02_next", "INCONCLUSIVE", "not reached: 01_bad failed"),
        ("03_report", "PASS", ""),
    ]
    assert (project.latest / "report.html").exists()


def test_an_undecided_step_makes_the_run_inconclusive(project):
    """A step without data is never PASS: the run goes on, and its exit status is 2."""
    project.step("01_empty", 'finish("INCONCLUSIVE")')
    project.step("02_next", PASS)
    done = project.run()
    assert (done.exit_code, project.record()["verdict"]) == (2, "INCONCLUSIVE")
    assert project.record()["steps"][1]["verdict"] == "PASS"


NO_VERDICT = "it ended without a verdict: its last cell has to call step.finish()"
BROKEN = {
    "01_raises": ("1 / 0", "cell 4: ZeroDivisionError: division by zero"),
    "02_raises_late": ('finish("PASS")\n1 / 0', "cell 4: ZeroDivisionError: division by zero"),
    "03_exits": ("import os; os._exit(3)", "its kernel died with exit code 3"),
    "04_is_killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "its kernel died by signal 9"),
    "05_exits_well": ("import sys; sys.exit(0)", NO_VERDICT),
    "06_has_no_verdict": ("x = 1", NO_VERDICT),
}


def test_a_step_that_does_not_finish_fails_for_a_stated_reason(project):
    """An exception, a dead kernel, an early exit, a missing verdict: FAIL, in run.json and in the step's result."""
    for name, (body, _) in BROKEN.items():
        project.step(name, body, always=True)
    done = project.run()
    assert done.exit_code == 1
    for step in project.record()["steps"]:
        _, reason = BROKEN[step["name"]]
        assert step["verdict"] == project.result(step["name"])["verdict"] == "FAIL"
        assert step["reason"].startswith(reason)
        assert reason in done.stdout


def test_a_step_over_its_limit_is_ended_with_all_its_children(project):
    """The hard limit of a step ends its kernel and the kernel's children, and the step is a StepTimeout."""
    project.step("01_slow", HANG, timeout_s=4)
    done = project.run()
    kernel = project.wait_for("kernel_started")
    assert done.exit_code == 1
    assert project.record()["steps"][0]["reason"].startswith("StepTimeout: not done after 4 s")
    assert not alive_in_session(kernel.fields["pid"])


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.deep)]
)
def test_an_interrupted_run_ends_everything_and_says_so(project, number, status):
    """Ctrl-C and SIGTERM end the kernel and its children; run.json is INCONCLUSIVE, the exit status 128 + signal."""
    project.step("01_hangs", HANG)
    project.step("02_next", PASS)
    process = project.start()
    project.wait_for("hanging")
    kernel = project.wait_for("kernel_started")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    record = project.record()
    assert (process.returncode, err) == (status, "")
    assert (record["verdict"], record["reason"]) == ("INCONCLUSIVE", f"interrupted by {number.name}")
    assert [step["reason"] for step in record["steps"]] == ["interrupted", "interrupted before it"]
    assert f"{number.name}: ending the kernel of 01_hangs, then all that the run started\n" in out
    assert not alive_in_session(kernel.fields["pid"])
    assert (project.latest / "report.html").exists()


def test_the_next_run_cleans_up_after_a_killed_one(project):
    """After kill -9 of the runner the next run ends what is left, says so, marks the dead run, and passes."""
    project.step(
        "01_once",
        f"if Path('hang').exists():\n    Path('hang').unlink()\n    {HANG.replace(chr(10), '; ')}\nelse:\n    {PASS}",
    )
    (project.root / "notebooks" / "hang").touch()
    process = project.start()
    project.wait_for("hanging")
    kernel, killed = project.wait_for("kernel_started"), project.latest
    process.kill()
    process.communicate()
    done = project.run()
    assert done.exit_code == 0, done.stderr
    assert f"run {killed.name} was killed before its end; cleaning up after it\n" in done.stdout
    assert not alive_in_session(kernel.fields["pid"])
    assert '"reason":"killed before its end"' in (killed / "run.json").read_text().replace('": "', '":"')
    assert project.latest != killed


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("enigne: process\n", "enigne: found 'process'; unknown key"),
        ("steps: {01_one: {rate: 5}}\n", "steps.01_one.rate: unknown parameter; "),
        ("steps: {01_one: {n: five}}\n", "steps.01_one.n: found 'five'; expected a whole number"),
        ("steps: {09_none: {n: 5}}\n", "steps.09_none: unknown step; the plan has: 01_one"),
    ],
)
def test_nothing_starts_on_a_bad_profile(project, profile, message):
    """An unknown key, parameter or step and a wrong type are refused with exit status 3 before there is a run."""
    project.step("01_one", PASS, parameters="n: int = 1  # how many\n")
    project.profile(profile)
    done = project.run()
    assert (done.exit_code, done.stdout) == (3, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (project.root / "runs").exists()
    assert not (project.root / ".tailrace").exists()


def test_all_problems_are_reported_at_once(project):
    """Each wrong parameter of each step has its own line."""
    project.step("01_one", PASS, parameters="n: int = 1\n")
    project.profile("steps: {01_one: {n: five, m: 1}, 02_x: {}}\n")
    done = project.run("run", "--param", "01_one.k=1")
    assert len(done.stderr.splitlines()) == 4
    assert all(line.startswith("tailrace: ") for line in done.stderr.splitlines())


def test_parameters_reach_the_notebook(project):
    """The profile sets parameters of a step, and --param sets them over it."""
    project.step("01_one", 'assert (n, s) == (7, "07"), (n, s)\n' + PASS, parameters='n: int = 1\ns: str = ""\n')
    project.profile("steps: {01_one: {n: 5, s: x}}\n")
    assert project.run("run", "--param", "01_one.n=7", "--param", "01_one.s=07").exit_code == 0


def test_only_the_chosen_steps_run(project):
    """--only selects steps, in the order of the plan; an unknown name is refused."""
    project.step("01_one", PASS)
    project.step("02_two", PASS)
    assert project.run("run", "--only", "02_two").exit_code == 0
    assert [step["name"] for step in project.record()["steps"]] == ["02_two"]
    refused = project.run("run", "--only", "03_three")
    assert (refused.exit_code, "no step '03_three'" in refused.stderr) == (3, True)


def test_a_credential_in_an_artefact_fails_the_run(project):
    """A secret that a notebook prints fails the run, with file and kind; the secret itself is not repeated."""
    project.step("01_leaks", 'import os\nprint(os.environ["MY_TOKEN"])\n' + PASS)
    project.profile("service: {secrets: [MY_TOKEN]}\n")
    secret = "correct-horse-battery"
    done = project.run(MY_TOKEN=secret)
    (check,) = [check for check in project.record()["checks"] if not check["ok"]]
    assert (done.exit_code, project.record()["verdict"]) == (1, "FAIL")
    assert "LeakFound" in check["fact"]
    assert "notebooks/01_leaks.ipynb: value of MY_TOKEN" in check["fact"]
    assert secret not in done.stdout + done.stderr + str(project.record())


def test_a_secret_that_stays_in_the_environment_is_no_leak(project):
    """The check above can pass: a notebook may use its secret, as long as it does not print it."""
    project.step("01_uses", 'import os\nassert os.environ["MY_TOKEN"]\n' + PASS)
    project.profile("service: {secrets: [MY_TOKEN]}\n")
    assert project.run(MY_TOKEN="correct-horse-battery").exit_code == 0


def test_a_second_run_is_refused(project):
    """A run in a project where another is under way is refused with exit status 3, and names its pid."""
    project.step("01_hangs", HANG)
    first = project.start()
    project.wait_for("hanging")
    second = project.run()
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert second.exit_code == 3
    assert f"a run of profile local (pid {first.pid}) is under way" in second.stderr


def test_down_ends_what_a_killed_run_left(project):
    """`tailrace down` ends the kernel of a killed run and marks the run; a second time there is nothing."""
    project.step("01_hangs", HANG)
    process = project.start()
    project.wait_for("hanging")
    kernel = project.wait_for("kernel_started")
    process.kill()
    process.communicate()
    done = project.run("down")
    assert (done.exit_code, "was killed before its end; cleaning up after it" in done.stdout) == (0, True), done.stderr
    assert not alive_in_session(kernel.fields["pid"])
    assert project.record()["verdict"] == "INCONCLUSIVE"
    assert project.run("down").stdout == "local: nothing was running\n"


def test_down_is_refused_during_a_run_and_needs_no_secret(project):
    """`tailrace down` works without the secrets that the profile names."""
    project.step("01_hangs", HANG)
    project.profile("service: {secrets: [MY_TOKEN]}\n")
    process = project.start("run", MY_TOKEN="correct-horse-battery")
    project.wait_for("hanging")
    refused = project.run("down")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (refused.exit_code, f"(pid {process.pid}) is under way" in refused.stderr) == (3, True)
    assert project.run("down").exit_code == 0


def test_a_kernel_ignores_the_configuration_of_the_user(project, tmp_path):
    """IPython start-up files in the user's home do not run in a step, and a step leaves nothing there."""
    home = tmp_path / "home"
    startup = home / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("from_home = True\n")
    before = sorted(home.rglob("*"))
    project.step("01_one", 'assert "from_home" not in globals()\n' + PASS)
    process = project.start("run", HOME=str(home))
    assert (process.wait(60), process.communicate()[1]) == (0, "")
    assert [
        path for path in sorted(home.rglob("*")) if path not in before and not {".cache", ".config"} & set(path.parts)
    ] == []


def alive_in_session(pid: int) -> list[int]:
    """Return the processes of the session that `pid` leads, without zombies."""
    time.sleep(0.1)
    return [p.pid for p in psutil.process_iter() if _session(p.pid) == pid and processes.started(p.pid)]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def test_alive_in_session_sees_living_processes():
    """The helper above finds a session while it lives."""
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        assert alive_in_session(process.pid) == [process.pid]
    finally:
        process.kill()
        process.wait()
    assert alive_in_session(process.pid) == []


def test_an_index_that_cannot_be_written_does_not_fail_the_run(project):
    """The run prints a warning, and its verdict stands."""
    project.step("01_one", PASS)
    (project.root / "runs" / "index.html").mkdir(parents=True)
    done = project.run()
    assert done.exit_code == 0
    assert "runs/index.html was not written: IsADirectoryError" in done.stdout
