"""A run's folder has one layout, and a run.json that is always complete."""

import pytest

from tailrace.errors import ProfileError, RecordsError
from tailrace.profile import Profile
from tailrace.run import folder
from tailrace.run.folder import RunDir, create_run, point_latest

PROFILE = Profile(name="local")


def test_a_new_run_is_named_by_time_profile_and_a_random_suffix(tmp_path):
    """Two runs of the same second have folders of their own, sorted by time."""
    one, two = create_run(tmp_path, PROFILE), create_run(tmp_path, PROFILE)
    assert one.path != two.path
    assert one.id.split("-")[2] == "local"
    assert one.path.parent == tmp_path / "runs"


def test_a_new_run_records_its_environment(tmp_path):
    """run.json has the machine, the versions and both clocks; verdict and end are null."""
    run = create_run(tmp_path, PROFILE, kind="exploratory")
    record = run.read()
    assert (record.id, record.profile, record.kind) == (run.id, "local", "exploratory")
    assert (record.verdict, record.exit_code, record.finished_at) == (None, None, None)
    assert record.environment.packages["pydantic"]
    assert record.environment.cores >= 1
    assert Profile.model_validate_json(run.profile.read_bytes()) == PROFILE


def test_latest_follows_the_newest_run(tmp_path):
    """The link is replaced atomically, is relative, and leads to the run."""
    runs = [create_run(tmp_path, PROFILE) for _ in range(2)]
    for run in runs:
        link = point_latest(run)
        assert str(link.readlink()) == run.id
        assert RunDir.of(link) == run
    assert [path.name for path in (tmp_path / "runs").glob(".*")] == []


def test_a_folder_that_is_not_a_run_is_refused(tmp_path):
    """The error names the missing file and the folder of runs."""
    with pytest.raises(RecordsError, match=r"has no run\.json"):
        RunDir.of(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"id": 5}'])
def test_a_damaged_run_json_is_refused(tmp_path, text):
    """A truncated file, or one of another schema, raises RecordsError."""
    run = create_run(tmp_path, PROFILE)
    (run.path / "run.json").write_text(text)
    with pytest.raises(RecordsError, match="cannot be used"):
        run.read()


def test_an_exploratory_run_is_closed_with_its_verdict(tmp_path):
    """`close` writes end, duration, verdict, exit code and step into the record."""
    run = create_run(tmp_path, PROFILE, kind="exploratory")
    record = folder.close(run, "INCONCLUSIVE", ("03_switch",))
    assert run.read() == record
    assert (record.verdict, record.exit_code, record.steps[0].name) == ("INCONCLUSIVE", 2, "03_switch")
    assert record.duration_s is not None
    assert record.finished_at is not None


def test_the_project_is_found_from_below(tmp_path):
    """The project is the nearest folder with a plan; without one, the error names the plan."""
    (tmp_path / "runbook").mkdir()
    (tmp_path / "runbook" / "plan.yaml").touch()
    (tmp_path / "notebooks").mkdir()
    assert folder.find_project(tmp_path / "notebooks") == tmp_path
    with pytest.raises(ProfileError, match=r"no runbook/plan\.yaml"):
        folder.find_project(tmp_path.parent)
