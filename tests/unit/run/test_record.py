"""`run.json` describes the machine, and is completed at the end of the run."""

import pytest
from pydantic import ValidationError

from tailrace.run.record import Environment, RunRecord, cores

RECORD = RunRecord(id="r", profile="local", engine="process")


def test_the_end_of_a_run_is_filled_in():
    """`finished` sets verdict, exit code, end and duration, and leaves the rest as it was."""
    done = RECORD.finished("FAIL", 1, reason="a leak")
    assert (done.verdict, done.exit_code, done.reason, done.id) == ("FAIL", 1, "a leak", "r")
    assert done.finished_at is not None
    assert done.duration_s is not None
    assert RECORD.verdict is None


def test_the_environment_lists_requirements_without_development_tools():
    """The packages are those that a run uses, with their versions."""
    packages = Environment().packages
    assert packages["pydantic"]
    assert "pytest" not in packages
    assert Environment().cores == cores() >= 1


def test_an_unknown_field_is_refused():
    """A run.json of a later schema is not misread."""
    with pytest.raises(ValidationError):
        RunRecord.model_validate(RECORD.model_dump() | {"colour": "blue"})
