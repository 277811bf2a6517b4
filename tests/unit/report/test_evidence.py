"""The frames of a run by name, and the reasons why its records are invalid."""

import json

import pytest

from tailrace.errors import RecordsError
from tailrace.report import baseline, evidence

STEP = "03_blue_green_switch"
PART = "part-0a1b2c3d-0-00000.parquet"


@pytest.fixture
def folder(run_dir):
    """The records of one step, as one load run left them."""
    records = run_dir / "records" / STEP
    (records / "part-0.parquet").rename(records / PART)
    return records


def note(folder, *reasons: str, phase: str = "switch") -> None:
    """Leave the summary of the load run beside its records."""
    summary = {"valid": not reasons, "reasons": reasons}
    document = {"traffic": {"phase": phase}, "facts": {}, "summary": summary}
    (folder / "_part-0a1b2c3d.json").write_text(json.dumps(document))


def test_a_valid_flight_leaves_no_doubt(folder, run_dir):
    """The records of a valid load run may decide; so may records that no load run wrote."""
    note(folder)
    assert evidence.invalid_reasons(run_dir, STEP) == evidence.invalid_reasons(run_dir, "all") == []
    assert evidence.invalid_reasons(run_dir, "05_latency_report", "04_load_test/records") == []


@pytest.mark.parametrize("name", ["records", f"{STEP}/records", f"{STEP}/records:switch", "all/records"])
def test_an_invalid_flight_says_why(folder, run_dir, name):
    """The reasons of an invalid load run apply to its records under each of their names."""
    reason = "the generator's send lag has p99 22.2 ms (limit 10 ms)"
    note(folder, reason)
    step = STEP if name == "records" else "05_latency_report"
    assert evidence.invalid_reasons(run_dir, step, name) == [f"switch: {reason}"]


def test_another_phase_is_not_in_doubt(folder, run_dir):
    """An invalid load run does not invalidate the phase of another one."""
    note(folder, "no records", phase="failing")
    assert evidence.invalid_reasons(run_dir, STEP, "records:switch") == []
    assert evidence.invalid_reasons(run_dir, STEP, "records:failing") == ["failing: no records"]


def test_a_flight_without_a_summary_is_a_doubt(folder, run_dir):
    """A load run without a summary was killed: requests of its phase may be missing."""
    assert evidence.invalid_reasons(run_dir, STEP, "records:switch") == [
        f"{PART}: its load run left no summary, so requests may be missing"
    ]
    assert evidence.invalid_reasons(run_dir, STEP, "records:another") == []
    (folder / "_part-0a1b2c3d.json").write_text("{")
    assert len(evidence.invalid_reasons(run_dir, STEP)) == 1


def test_an_invalid_flight_passes_no_gate(folder, run_dir):
    """A run with an invalid load run is INCONCLUSIVE against any baseline, even itself."""
    note(folder)
    assert baseline.against(run_dir, run_dir).judgement.verdict != "INCONCLUSIVE"
    note(folder, "no records")
    judged = baseline.against(run_dir, run_dir).judgement
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.text.startswith("baseline: switch: no records; run: switch: no records; ")


@pytest.mark.parametrize(
    ("name", "phases"),
    [
        ("records:plain", {"plain"}),
        ("records:plain,both", {"plain", "both"}),
        ("records:ramp *", {f"ramp {rate}" for rate in (50, 100, 150, 200, 250, 300, 350)}),
        ("records:!ramp *,both", {"plain", "retrying", "cached"}),
        ("records:nothing", set()),
    ],
)
def test_phases_are_chosen_by_name_and_pattern(run_dir, name, phases):
    """A name selects one phase, several, or those that match a pattern."""
    assert set(evidence.frame(run_dir, "04_load_test", name)["phase"]) == phases


def test_a_step_that_marked_nothing_has_no_marks(run_dir):
    """The marks of a step that made none are empty; any other missing frame is an error."""
    assert evidence.frame(run_dir, "05_latency_report", "01_build_image/marks").empty
    assert len(evidence.frame(run_dir, "05_latency_report", f"{STEP}/marks")) == 10
    with pytest.raises(RecordsError, match="does not exist"):
        evidence.frame(run_dir, "05_latency_report", "01_build_image/spans")


@pytest.mark.parametrize("name", ["../x", "a/../b", "/etc/passwd", ""])
def test_frames_stay_in_the_run(run_dir, name):
    """The name of a frame cannot lead out of the run's folder."""
    with pytest.raises(RecordsError):
        evidence.frame(run_dir, "03_blue_green_switch", name)
