"""A step's verdict comes from how its kernel ended and from what it wrote; no data is never PASS."""

import json

import pytest

from tailrace.run.folder import RunDir
from tailrace.run.record import RunCheck, StepOutcome
from tailrace.runner import outcome
from tailrace.runner.execution import Ended


def of(folder, written, ended):
    run = RunDir(folder)
    if written is not None:
        run.result("01").parent.mkdir(exist_ok=True)
        run.result("01").write_text(written if isinstance(written, str) else json.dumps(written))
    return outcome.of(run, "01", ended, 1.0)


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INCONCLUSIVE"])
def test_a_step_that_ended_well_says_its_verdict_itself(tmp_path, verdict):
    """The result's verdict is the step's."""
    done = of(tmp_path, {"verdict": verdict}, Ended("done"))
    assert (done.verdict, done.reason) == (verdict, "")


@pytest.mark.parametrize("written", [None, "{", "[]", {}, {"verdict": None}, {"verdict": "OK"}, {"verdict": ["PASS"]}])
def test_a_step_without_a_verdict_fails(tmp_path, written):
    """A missing, a damaged and an unfinished result are FAIL."""
    assert of(tmp_path, written, Ended("done")).verdict == "FAIL"


@pytest.mark.parametrize("how", ["error", "dead", "timeout"])
def test_a_step_that_did_not_end_well_fails_whatever_it_wrote(tmp_path, how):
    """PASS in the result does not count when the notebook broke after it; the result is corrected."""
    done = of(tmp_path, {"verdict": "PASS", "checks": [1]}, Ended(how, "why"))
    assert (done.verdict, done.reason) == ("FAIL", "why")
    assert json.loads((tmp_path / "results" / "01.json").read_text()) == {
        "step": "01", "checks": [1], "verdict": "FAIL", "reason": "why",
    }  # fmt: skip


def test_failed_checks_speak_for_themselves(tmp_path):
    """A step that raised StepFailed after writing FAIL needs no other reason."""
    ended = Ended("error", "cell 9: StepFailed: 1 of 2", "StepFailed")
    assert of(tmp_path, {"verdict": "FAIL"}, ended).reason == ""
    assert of(tmp_path, {"verdict": "PASS"}, ended).verdict == "FAIL"


def test_an_interrupted_step_is_inconclusive(tmp_path):
    """Ctrl-C says nothing about the service."""
    assert of(tmp_path, None, Ended("interrupted", "interrupted")).verdict == "INCONCLUSIVE"


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
def test_the_run_is_as_good_as_its_worst_step(verdicts, ok, overall):
    """FAIL before INCONCLUSIVE before PASS; a failed check of the run fails it; no step at all is INCONCLUSIVE."""
    steps = [StepOutcome(name="s", verdict=verdict, duration_s=1) for verdict in verdicts]
    assert outcome.overall(steps, [RunCheck(name="c", ok=ok, fact="")]) == overall
