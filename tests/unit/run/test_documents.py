"""The documents of a run are read without trust: a damaged one is empty, never an error."""

import json

import pytest

from tailrace.profile import Profile
from tailrace.run import documents
from tailrace.run.folder import create_run

PROFILE = Profile(name="local")


def test_the_documents_of_a_new_run_are_read(tmp_path):
    """run.json, the profile, and the clock come back as JSON has them."""
    run = create_run(tmp_path, PROFILE)
    assert documents.run(run.path)["id"] == run.id
    assert documents.profile(run.path)["name"] == "local"
    clock = run.read().clock
    assert documents.clock_ns(run.path) == clock.wall_ns - clock.perf_ns


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "\x00"])
def test_a_damaged_document_is_empty(tmp_path, text):
    """A truncated file, or one without a JSON object, is empty."""
    run = create_run(tmp_path, PROFILE)
    run.record.write_text(text)
    run.result("01_build").write_text(text)
    assert documents.run(run.path) == documents.result(run.path, "01_build") == {}
    assert documents.clock_ns(run.path) == 0


def test_steps_are_those_of_the_plan_then_the_others(tmp_path):
    """A step that run.json does not list is found by its result or its notebook."""
    run = create_run(tmp_path, PROFILE)
    for path in (run.result("02_b"), run.result("01_a"), run.notebook("03_c"), run.notebook("01_a")):
        path.write_text(json.dumps({}))
    run.kernel_log("04_d").touch()
    assert documents.steps(run.path) == ["01_a", "02_b", "03_c"]
    assert documents.steps(run.path, ["02_b", "05_e"]) == ["02_b", "05_e", "01_a", "03_c"]
