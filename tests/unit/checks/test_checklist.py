"""The readiness checklist: decided by evidence, open without it."""

import pytest

from tailrace.checks import checklist
from tailrace.checks.checklist import Line
from tailrace.errors import ProfileError
from tailrace.verdict import Check

LINE = Line(line="It is ready", evidence={"02": ["ready turns red", "live stays"]})
GOOD = [Check("ready turns red, and back", True, "a"), Check("live stays green", True, "b")]


def verdict(made) -> str:
    return checklist.ready(checklist.decide([LINE], made)).state


def test_a_line_is_proved_when_all_of_its_checks_passed():
    """Checks are named by step and by the beginning of their name."""
    assert verdict({"02": GOOD}) == "PASS"


def test_a_failed_check_fails_its_line():
    """And the line says which, with the fact."""
    made = {"02": [GOOD[0], Check("live stays green", False, "3 were red")]}
    (line,) = checklist.decide([LINE], made)
    assert (line.state, line.fact) == ("FAIL", "live stays green: 3 were red")
    assert verdict(made) == "FAIL"


@pytest.mark.parametrize("made", [{}, {"02": GOOD[:1]}, {"02": [GOOD[0], Check("live stays green", None, "no data")]}])
def test_a_line_without_all_of_its_evidence_is_open(made):
    """No data is never PASS."""
    assert verdict(made) == "INCONCLUSIVE"


def test_a_line_whose_checks_were_all_skipped_is_open():
    """A profile that skips a check does not prove it."""
    assert verdict({"02": [Check.skip("ready turns red", "-"), Check.skip("live stays", "-")]}) == "INCONCLUSIVE"


def test_a_line_that_needs_what_the_engine_lacks_is_skipped_with_the_reason():
    """Processes have no container to harden. Where the engine has images, the line is open without evidence."""
    lines = [LINE, Line(line="Hardened", needs="images", evidence={"01": ["non-root"]})]
    decided = checklist.decide(lines, {"02": GOOD}, {"images": "instances are processes"})
    assert [(line.state, line.fact) for line in decided][1] == ("SKIPPED", "not tested here: instances are processes")
    assert checklist.ready(decided).state == "PASS"
    assert checklist.ready(checklist.decide(lines, {"02": GOOD})).state == "INCONCLUSIVE"


def test_an_empty_checklist_proves_nothing():
    """Without a line there is no PASS."""
    assert checklist.ready([]).state == "INCONCLUSIVE"


def test_the_checklist_of_the_runbook_can_be_read(root):
    """Each line has a name and evidence."""
    assert all(line.line and line.evidence for line in checklist.read(root / "runbook" / "checklist.yaml"))


def test_a_file_that_is_not_a_checklist_is_refused(tmp_path):
    """The error names the file."""
    (tmp_path / "c.yaml").write_text("- lines: 1")
    with pytest.raises(ProfileError, match=r"c\.yaml"):
        checklist.read(tmp_path / "c.yaml")


def test_a_line_with_a_part_that_was_not_tested_says_so():
    """What was tested decides; the rest stands beside it, with its reason."""
    (line,) = checklist.decide([LINE], {"02": [GOOD[0], Check.skip("live stays green", "no provider")]})
    assert (line.state, line.fact) == (
        "PASS",
        "ready turns red, and back. Not tested here: live stays green (no provider)",
    )


def test_what_was_not_tested_on_this_service_earns_no_line():
    """It is not among the lines that are counted, and its name stands beside them."""
    lines = [LINE, Line(line="It retries", evidence={"04": ["retries are bounded"]})]
    made = {"02": GOOD, "04": [Check.skip("retries are bounded", "its own affair")]}
    decided = checklist.decide(lines, made)
    assert (decided[1].state, decided[1].fact) == ("SKIPPED", "not tested here: its own affair")
    assert checklist.ready(decided).fact == "1 of 1 lines are proved; not tested here: 1 (It retries)"
