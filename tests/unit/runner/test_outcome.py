"""The verdict of a step comes from how its kernel ended and from the result it wrote; no data is never PASS."""

import json

import pytest

from tailrace.run.folder import RunDir
from tailrace.run.record import RunCheck, StepOutcome
from tailrace.runner import outcome
from tailrace.runner.execution import ExecutionResult


def step_outcome(folder, written, execution, before=""):
    run = RunDir(folder)
    if written is not None:
        run.result("01").parent.mkdir(exist_ok=True)
        run.result("01").write_text(written if isinstance(written, str) else json.dumps(written))
    return outcome.step_outcome(run, "01", execution, 1.0, before)


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_a_completed_step_has_the_verdict_it_wrote(tmp_path, verdict):
    """The verdict in the result is the verdict of the step."""
    done = step_outcome(tmp_path, {"verdict": verdict}, ExecutionResult("completed"))
    assert (done.verdict, done.reason) == (verdict, "")


@pytest.mark.parametrize("written", [None, "{", "[]", {}, {"verdict": None}, {"verdict": "OK"}, {"verdict": ["PASS"]}])
def test_a_step_without_a_verdict_fails(tmp_path, written):
    """A missing, damaged or unfinished result is FAIL."""
    assert step_outcome(tmp_path, written, ExecutionResult("completed")).verdict == "FAIL"


@pytest.mark.parametrize("status", ["error", "kernel died", "timeout"])
def test_a_step_that_broke_fails_whatever_it_wrote(tmp_path, status):
    """PASS in the result does not count when the notebook broke after writing it; the result is corrected."""
    done = step_outcome(tmp_path, {"verdict": "PASS", "checks": [1]}, ExecutionResult(status, "why"))
    assert (done.verdict, done.reason) == ("FAIL", "why")
    assert json.loads((tmp_path / "results" / "01.json").read_text()) == {
        "step": "01", "checks": [1], "verdict": "FAIL", "reason": "why",
    }  # fmt: skip


def test_failed_checks_need_no_other_reason(tmp_path):
    """A step that raised StepFailed after writing FAIL has an empty reason."""
    execution = ExecutionResult("error", "cell 9: StepFailed: 1 of 2", "StepFailed")
    assert step_outcome(tmp_path, {"verdict": "FAIL"}, execution).reason == ""
    assert step_outcome(tmp_path, {"verdict": "PASS"}, execution).verdict == "FAIL"


def test_an_interrupted_step_is_inconclusive(tmp_path):
    """Ctrl-C says nothing about the service."""
    assert step_outcome(tmp_path, None, ExecutionResult("interrupted", "interrupted")).verdict == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("verdicts", "ok", "overall"),
    [
        (["PASS", "PASS"], True, "PASS"),
        (["PASS", "INCONCLUSIVE"], True, "INCONCLUSIVE"),
        (["INCONCLUSIVE", "FAIL"], True, "FAIL"),
        (["PASS"], False, "FAIL"),
        (["PASS"], None, "INCONCLUSIVE"),
        (["FAIL"], None, "FAIL"),
        ([], True, "INCONCLUSIVE"),
    ],
)
def test_a_run_is_as_good_as_its_worst_step(verdicts, ok, overall):
    """FAIL before INCONCLUSIVE before PASS; a failed check of the run fails it; no step at all is INCONCLUSIVE."""
    steps = [StepOutcome(name="s", verdict=verdict, duration_s=1) for verdict in verdicts]
    assert outcome.overall(steps, [RunCheck(name="c", ok=ok, fact="")]) == overall


def test_passed_checks_are_counted_without_the_skipped_ones(tmp_path):
    """A step without checks, or with a damaged result, has no count."""
    run = RunDir(tmp_path)
    run.result("01").parent.mkdir()
    checks = [{"ok": True}, {"ok": False}, {"ok": None, "state": "SKIPPED"}]
    run.result("01").write_text(json.dumps({"checks": checks}))
    run.result("02").write_text("{")
    steps = [StepOutcome(name=name, verdict="PASS", duration_s=1) for name in ("01", "02", "03")]
    assert outcome.passed_checks(run, steps) == {"01": "1 of 2"}


def test_a_step_that_could_not_run_is_no_finding(tmp_path):
    """What this machine lacks is INCONCLUSIVE, with what to do; any other error, the control, is FAIL."""
    lacking = ExecutionResult("error", "cell 3: PartMissing: release: could not run: set SSL_CERT_FILE", "PartMissing")
    done = step_outcome(tmp_path, {"verdict": None}, lacking)
    assert (done.verdict, done.could_not_run) == ("INCONCLUSIVE", True)
    assert done.reason == "could not run: release: could not run: set SSL_CERT_FILE"
    broken = step_outcome(
        tmp_path, {"verdict": None}, ExecutionResult("error", "cell 3: BuildFailed: x", "BuildFailed")
    )
    assert (broken.verdict, broken.could_not_run) == ("FAIL", False)


def test_a_step_without_records_says_which_step_owes_them(tmp_path):
    """After a step that failed or could not run, missing records are skipped; otherwise, the control, they are FAIL."""
    missing = ExecutionResult("error", "cell 3: RecordsError: records: x does not exist", "RecordsError")
    done = step_outcome(tmp_path, None, missing, "01_build_image could not run")
    assert done.verdict == "INCONCLUSIVE"
    assert done.reason == "skipped: there are no records for it, because 01_build_image could not run"
    assert step_outcome(tmp_path, None, missing).verdict == "FAIL"


@pytest.mark.parametrize(("verdict", "missing", "code"), [
    ("INCONCLUSIVE", True, 3), ("INCONCLUSIVE", False, 2), ("FAIL", True, 1), ("FAIL", False, 1), ("PASS", False, 0),
])  # fmt: skip
def test_a_run_that_could_not_run_leaves_with_3(verdict, missing, code):
    """A finding counts more than what could not be found out."""
    steps = [StepOutcome(name="01", verdict="INCONCLUSIVE", duration_s=1.0, could_not_run=missing)]
    assert outcome.exit_code(verdict, steps) == code


@pytest.mark.parametrize(
    ("exception", "could"), [("MachineRefused", False), ("PartMissing", False), ("DeployError", True)]
)
def test_a_machine_that_refuses_is_no_finding(tmp_path, exception, could):
    """A full disk under a journal says nothing about the service; another error of a deployment, the control, does."""
    reason = f"cell 4: {exception}: journal.jsonl: started could not be journalled (No space left on device)"
    done = step_outcome(tmp_path, None, ExecutionResult("error", reason, exception))
    assert (done.verdict == "FAIL", done.could_not_run) == (could, not could)
    assert done.reason.startswith("cell 4: " if could else "could not run: journal.jsonl: ")
