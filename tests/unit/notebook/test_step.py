"""A step writes its checks and evidence at once, decides its verdict, and raises when a check failed."""

import json
import shutil

import pandas as pd
import pytest

from tailrace.errors import ProfileError, RecordsError, StepFailed
from tailrace.notebook import begin
from tailrace.profile import load
from tailrace.run import events, folder
from tailrace.verdict import Check


@pytest.fixture
def project(tmp_path, root, monkeypatch):
    """A project with the real profiles and checklist, whose steps deploy nothing."""
    shutil.copytree(root / "runbook", tmp_path / "runbook")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def step(project):
    """A step of a run, as the runner begins it."""
    run = folder.create_run(project, load("local", project))
    return begin("04_load_test", run_dir=str(run.path))


def result(step) -> dict:
    return json.loads(step.run.result(step.name).read_text())


def test_a_check_is_on_disk_and_in_the_events_at_once(step):
    """A step that is killed right after a check has still made it."""
    step.check("it works", True, "1 of 1")
    assert result(step)["checks"] == [{"name": "it works", "ok": True, "fact": "1 of 1", "state": "PASS"}]
    assert [e.fields["name"] for e in events.read(step.run.path) if e.event == "check"] == ["it works"]
    assert result(step)["verdict"] is None


def test_a_check_is_decided_once(step):
    """Of two checks with one name, one would be overlooked."""
    step.check("it works", True, "1 of 1")
    with pytest.raises(ValueError, match="was decided before"):
        step.check("it works", False, "0 of 1")


@pytest.mark.parametrize(
    ("decided", "verdict"),
    [
        ([True, True], "PASS"),
        ([True, None], "INCONCLUSIVE"),
        ([None, False], "FAIL"),
        ([], "INCONCLUSIVE"),
    ],
)
def test_the_verdict_is_made_of_the_checks(step, decided, verdict):
    """A failed check makes FAIL, an undecided one INCONCLUSIVE; without any check it is not PASS either."""
    for number, ok in enumerate(decided):
        step.check(f"check {number}", ok, "-")
    assert step.verdict == verdict


def test_skipped_checks_alone_do_not_pass(step):
    """A check that was skipped proves nothing."""
    step.add_checks(Check.skip("it works", "nothing to check"))
    assert step.verdict == "INCONCLUSIVE"


def test_finish_raises_when_a_check_failed(step):
    """Papermill stops there; the verdict is on disk by then."""
    step.check("it works", False, "0 of 1")
    with pytest.raises(StepFailed, match="it works: 0 of 1"):
        step.finish()
    assert result(step)["verdict"] == "FAIL"


def test_finish_does_not_raise_for_an_undecided_check(step):
    """The runner reports INCONCLUSIVE; it is no reason to stop."""
    step.check("it works", None, "no data")
    step.finish()
    assert result(step)["verdict"] == "INCONCLUSIVE"


def test_a_saved_frame_comes_back(step):
    """A frame that was never saved raises, with its name."""
    step.save("numbers", pd.DataFrame({"n": [1, 2]}))
    assert step.frame("numbers")["n"].tolist() == [1, 2]
    with pytest.raises(RecordsError, match="others"):
        step.frame("others")


def test_a_stretch_is_marked_even_when_its_block_fails(step):
    """The figure shows how long a fault lasted, also when something failed meanwhile."""
    with pytest.raises(RuntimeError), step.during("outage"):
        raise RuntimeError
    mark = step.frame("marks").iloc[0]
    assert (mark["label"], mark["kind"]) == ("outage", "fault")
    assert mark["until_ns"] >= mark["t_ns"]


def test_what_did_not_happen_is_not_marked(step):
    """A fault that a profile leaves out is no stretch of the figure; the frame is there all the same."""
    with step.during("outage", when=False):
        pass
    assert step.frame("marks").empty


def test_a_step_alone_begins_a_run_and_ends_it(project):
    """An exploratory run has a verdict of its own."""
    step = begin("01_build_image")
    step.check("it works", True, "1 of 1")
    step.finish()
    record = step.run.read()
    assert (record.kind, record.verdict, step.alone) == ("exploratory", "PASS", True)


def test_a_step_alone_reports_on_the_latest_run(project, step):
    """It links the evidence into its own run, and leaves the other run as it was."""
    step.check("it works", True, "1 of 1")
    step.run.records("03_blue_green_switch").mkdir(parents=True)
    folder.point_latest(step.run)
    alone = begin("05_latency_report")
    assert alone.records_to_report("03_blue_green_switch/records:switch") == "03_blue_green_switch/records:switch"
    assert alone.run.result("04_load_test").read_text() == step.run.result("04_load_test").read_text()
    alone.check("another", True, "1 of 1")
    assert not step.run.result("05_latency_report").exists()


def test_a_step_outside_of_a_project_is_refused(tmp_path, monkeypatch):
    """The error names the file that was looked for."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProfileError, match=r"runbook/plan\.yaml"):
        begin("01_build_image")
