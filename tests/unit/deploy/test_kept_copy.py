"""Where an instance runs: in place while its files are the release's, else from the copy that is kept of them."""

import os
import subprocess
import sys

import pytest

from tailrace.deploy import build, kept_copy, source
from tailrace.errors import DeployError
from tailrace.profile import Service

PROGRAM = """
import pathlib, sys
import {module}
here = pathlib.Path(__file__).parent
print({module}.WORD, "program-{word}", (here / "data.txt").read_text(), pathlib.Path("top.txt").read_text())
"""


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "app").mkdir(parents=True)
    (folder / "top.txt").write_text("top")
    (folder / "app/data.txt").write_text("data")
    write(folder, "one")
    return folder


def write(project, word):
    (project / "app/s.py").write_text(PROGRAM.format(module="beside", word=word))
    (project / "app/beside.py").write_text(f"WORD = 'beside-{word}'")


def built(project, *command, paths=(), **environment):
    service = Service(command=command, source=paths, environment=environment)
    return build.build(service, project, project.parent / "releases")


def run(release, project):
    """Start the release as the engine would, and return what it prints."""
    place = kept_copy.place(release, project.parent / "releases")
    command = [sys.executable if word == "python" else word for word in place.command]
    environment = {"PATH": os.environ["PATH"], **place.environment}
    done = subprocess.run(command, cwd=place.directory, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_an_instance_runs_in_place_while_its_files_are_the_release_s(project):
    """The same words in the same folder, however often the files were touched."""
    release = built(project, "python", "app/s.py")
    os.utime(project / "app/s.py", (1, 1))
    place = kept_copy.place(release, project.parent / "releases")
    assert (place.command, place.directory, place.fact) == (release.command, project, "")


def test_after_an_edit_it_runs_from_the_copy_beside_the_neighbours_of_today(project):
    """Words move, the folder stays; what is no part of the release is that of today."""
    release = built(project, "python", str(project / "app/s.py"))
    write(project, "two")
    place = kept_copy.place(release, project.parent / "releases")
    assert place.command[1].endswith(str(project / "app/s.py"))
    assert place.directory == project
    assert place.fact == "from its kept files: app/s.py has changed since"
    assert run(release, project) == ["beside-two", "program-one", "data", "top"]
    assert run(built(project, "python", "app/s.py"), project)[1] == "program-two"


@pytest.mark.parametrize(
    "command", [("python", "app/s.py"), ("sh", "-c", "exec python3 app/s.py"), ("./run.sh",)], ids=" ".join
)
def test_a_neighbour_that_is_listed_is_brought_back_too(project, command):
    """However the program is found: by a word, by a line for a shell, or by a script that was not changed."""
    (project / "run.sh").write_text("#!/bin/sh\nexec python3 app/s.py\n")
    (project / "run.sh").chmod(0o755)
    release = built(project, *command, paths=("app", "run.sh"))
    write(project, "two")
    assert run(release, project) == ["beside-one", "program-one", "data", "top"]
    assert run(built(project, *command, paths=("app", "run.sh")), project)[0] == "beside-two"


def test_a_module_is_brought_back_by_its_name(project):
    """Python finds it by the folder that it runs in: that is the copy's, where everything else is linked."""
    (project / "app/__init__.py").write_text("")
    (project / "app/s.py").write_text(PROGRAM.format(module="app.beside as beside", word="one").replace(
        "app.beside as beside.WORD", "beside.WORD"))  # fmt: skip
    release = built(project, "python", "-m", "app.s")
    write(project, "two")
    assert run(release, project) == ["beside-one", "program-one", "data", "top"]


def test_a_setting_that_names_a_folder_of_the_source_moves_with_it(project):
    """Its neighbours do not: what they hold belongs to no release."""
    (project / "data").mkdir()
    paths = {"PYTHONPATH": f"/none:{project}/app", "STATE": f"{project}/data"}
    release = built(project, "python", "-c", "import s", paths=("app",), **paths)
    (project / "top.txt").write_text("top")
    write(project, "two")
    place = kept_copy.place(release, project.parent / "releases")
    assert place.environment["STATE"] == f"{project}/data"
    assert run(release, project)[:2] == ["beside-one", "program-one"]


def test_a_module_that_is_new_since_is_not_found(project):
    """A program that loads all of its plug-ins loads those of its release."""
    (project / "app/s.py").write_text("import os, sys\nprint(*sorted(os.listdir(sys.path[0])))\n")
    release = built(project, "python", "app/s.py", paths=("app",))
    (project / "app/plugin.py").write_text("")
    assert run(release, project) == ["beside.py", "data.txt", "s.py"]


def test_a_program_that_was_found_by_path_is_brought_back(project):
    """With its executable bit."""
    tool = project.parent / "bin/tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho one\n")
    tool.chmod(0o755)
    settings = {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    release = built(project, "tool", **settings)
    tool.write_text("#!/bin/sh\necho two\n")
    assert run(release, project) == ["one"]
    assert run(built(project, "tool", **settings), project) == ["two"]


def test_the_copy_is_completed_after_a_crash_and_a_damaged_file_in_it_is_written_again(project):
    """It is held against the digests at each start."""
    release = built(project, "python", "app/s.py", paths=("app",))
    write(project, "two")
    run(release, project)
    copy = next((project.parent / "releases/sources").glob(f"*/tree/{str(project).lstrip('/')}/app"))
    (copy / "s.py").write_text("print('damaged')")
    (copy / "beside.py").unlink()
    assert run(release, project)[:2] == ["beside-one", "program-one"]


def test_what_cannot_be_brought_back_is_refused(project, monkeypatch):
    """A changed file that was too large to keep, and a copy that is gone: never the wrong code."""
    kept = built(project, "python", "app/s.py")
    monkeypatch.setattr(source, "MAX_KEPT_BYTES", 2)
    (project / "app/s.py").write_text("large")
    large = built(project, "python", "app/s.py")
    (project / "app/s.py").write_text("edited")
    with pytest.raises(DeployError, match=r"s\.py has changed since, and is larger than .* cannot be brought back"):
        kept_copy.place(large, project.parent / "releases")
    monkeypatch.undo()
    assert kept_copy.place(kept, project.parent / "releases").fact
    for path in (project.parent / "releases/objects").rglob("*"):
        if path.is_file():
            path.write_text("damaged")
    with pytest.raises(DeployError, match="is gone or damaged: the release cannot be brought back"):
        kept_copy.place(kept, project.parent / "releases")
