"""Where the machine refuses, a run could not run: exit status 3, one line, nothing half-written; the next one works."""

import pytest

PASS = 'finish("PASS")'


def refused(project):
    """Run, and return the one line of the refusal."""
    done = project.run()
    assert (done.exit_code, len(done.stderr.splitlines())) == (3, 1), done.output
    assert "Traceback" not in done.output
    return done.stderr


def runs(project):
    return sorted(path.name for path in (project.root / "runs").iterdir())


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_something_else_in_the_place_of_latest_is_not_replaced(project, kind):
    """An artefact store resolves links: what it left is the user's, and the refusal names it; a link is replaced."""
    project.step("01_one", PASS)
    latest = project.root / "runs" / "latest"
    (latest if kind == "folder" else latest.parent).mkdir(parents=True)
    if kind == "file":
        latest.write_text("20260101-120000-local-ab12")
    line = refused(project)
    assert line.startswith(f"tailrace: {latest}: is a {kind} here, and not the link to the latest run; move away")
    assert runs(project) == ["latest"]
    latest.rename(project.root / "aside")
    latest.symlink_to("gone")  # the control, and the next run
    assert project.run().exit_code == 0


@pytest.mark.parametrize("place", ["runs", ".tailrace"])
def test_a_file_in_the_place_of_a_folder_is_named(project, place):
    """A file where the runs or the state belong."""
    project.step("01_one", PASS)
    (project.root / place).touch()
    assert f"{project.root / place}" in refused(project)
    (project.root / place).unlink()
    assert project.run().exit_code == 0
