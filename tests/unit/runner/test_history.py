"""Earlier runs say how long a step takes; runs that never ended are found."""

import json

from tailrace.profile import Profile
from tailrace.run.folder import create_run, point_latest
from tailrace.run.record import StepOutcome
from tailrace.runner import history

PROFILE = Profile(name="p")


def add_run(root, verdict, seconds, kind="run", step="01"):
    run = create_run(root, PROFILE, kind)
    steps = (StepOutcome(name=step, verdict="PASS", duration_s=seconds),)
    if verdict:
        run.write(run.read().finished(verdict, 0, steps=steps))
    return run


def test_the_estimate_is_the_last_passed_run_of_the_profile(tmp_path):
    """Failed runs, other profiles and exploratory runs do not count."""
    assert history.durations(tmp_path, "p") == {}
    add_run(tmp_path, "PASS", 2.0)
    add_run(tmp_path, "FAIL", 3.0)
    add_run(tmp_path, "PASS", 4.0, kind="exploratory")
    point_latest(add_run(tmp_path, None, 5.0))
    assert history.durations(tmp_path, "p") == {"01": 2.0}
    assert history.durations(tmp_path, "other") == {}


def test_a_run_of_one_step_hides_no_other_step(tmp_path):
    """The time of each step is that in the latest run that had it."""
    add_run(tmp_path, "PASS", 2.0)
    add_run(tmp_path, "PASS", 3.0, step="02")
    assert history.durations(tmp_path, "p") == {"01": 2.0, "02": 3.0}


def test_a_damaged_run_is_skipped(tmp_path):
    """A run.json that is cut off, or of another schema, does not hide other runs."""
    add_run(tmp_path, "PASS", 2.0)
    for text in ("{", json.dumps({"id": "x"})):
        damaged = add_run(tmp_path, "PASS", 9.0)
        (damaged.path / "run.json").write_text(text)
    assert history.durations(tmp_path, "p") == {"01": 2.0}


def test_a_run_without_a_verdict_never_ended(tmp_path):
    """Such a run is found once, even when `latest` points at it; an exploratory one may still be under way."""
    run = add_run(tmp_path, None, 0)
    add_run(tmp_path, "PASS", 1.0)
    add_run(tmp_path, None, 0, kind="exploratory")
    point_latest(run)
    assert [unfinished.id for unfinished in history.unfinished(tmp_path)] == [run.id]
