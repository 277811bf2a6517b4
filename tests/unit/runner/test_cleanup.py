"""What a killed run left is found by what it wrote down."""

from pathlib import Path

import pytest

from tailrace import profile
from tailrace.run.folder import create_run
from tailrace.runner import cleanup

ROOT = Path(__file__).parents[3]
PROFILES = sorted(path.stem for path in (ROOT / "runbook" / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("name", PROFILES)
def test_the_profile_of_a_killed_run_is_read_as_it_was_written_down(tmp_path, name):
    """Name, engine, edge and what stays: all that taking its deployment down needs."""
    chosen = profile.load(name, ROOT, environment=None)
    found = cleanup.profile_of(create_run(tmp_path, chosen))
    assert found is not None
    assert (found.name, found.engine, found.edge, found.teardown) == (
        chosen.name, chosen.engine, chosen.edge, chosen.teardown)  # fmt: skip
    assert found.service == chosen.service


def test_a_damaged_profile_is_none(tmp_path):
    """And so is one that is gone."""
    run = create_run(tmp_path, profile.load("local", ROOT, environment=None))
    run.profile.write_text("{")
    assert cleanup.profile_of(run) is None
    run.profile.unlink()
    assert cleanup.profile_of(run) is None
