"""The source of a command: what makes another release, what does not, and what is kept of it."""

import os
import time

import pytest

from tailrace.deploy import build, file_digests, source, source_walk
from tailrace.deploy.file_digests import FileDigests
from tailrace.errors import BuildFailed, DeployError
from tailrace.profile import Service


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    (folder / "app").mkdir(parents=True)
    (folder / "app/s.py").write_text("one")
    (folder / "app/other.py").write_text("other")
    return folder


def built(project, *paths, command=("python", "app/s.py")):
    return build.build(Service(command=command, source=paths), project, project.parent / "releases")


def test_another_content_is_another_release_and_another_time_is_not(project):
    """One byte; the executable bit, too. Without a file the words alone count, as they always did."""
    first = built(project)
    os.utime(project / "app/s.py", (1, 1))
    assert built(project).id == first.id
    (project / "app/s.py").write_text("two")
    assert built(project).id != first.id
    (project / "app/s.py").write_text("one")
    assert built(project).id == first.id
    (project / "app/s.py").chmod(0o755)
    assert built(project).id != first.id
    assert built(project, command=("sleep", "1")).build != built(project, command=("sleep", "2")).build


def test_the_same_files_elsewhere_are_the_same_release(project, tmp_path):
    """On another machine the project lies in another folder."""
    first = built(project)
    project.rename(tmp_path / "elsewhere")
    assert built(tmp_path / "elsewhere").id == first.id


def test_a_file_beside_counts_when_the_profile_lists_it(project):
    """By default, the command's own file counts alone."""
    own, listed = built(project), built(project, "app")
    (project / "app/other.py").write_text("edited")
    assert built(project).id == own.id
    assert built(project, "app").id != listed.id
    (project / "app/new.py").write_text("new")
    assert len({own.id, listed.id, built(project, "app").id}) == 3


def test_history_caches_and_environments_do_not_count(project):
    """They change without the program being another one; a module that is listed by its name does count."""
    before = built(project, ".")
    for name in (
        ".git/HEAD",
        "app/__pycache__/s.cpython.pyc",
        ".venv/bin/python",
        "node_modules/x.js",
        "app/serve.log",
    ):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("changed")
    assert built(project, ".").id == before.id
    assert built(project, ".", ".venv").id != before.id


def test_links_count_by_what_they_lead_to(project):
    """Moved to another folder, as `current` is by many deploy tools; a circle of links ends."""
    for name in ("v1", "v2"):
        (project / name).mkdir()
        (project / name / "s.py").write_text(name)
    (project / "current").symlink_to("v1")
    (project / "v1/circle").symlink_to("..")
    first, listed = built(project, command=("python", "current/s.py")), built(project, "current")
    (project / "current").unlink()
    (project / "current").symlink_to("v2")
    assert built(project, command=("python", "current/s.py")).id != first.id
    assert built(project, "current").id != listed.id


def test_a_source_is_bounded_in_files_and_bytes(project, monkeypatch):
    """With what to do; within the bounds it is taken."""
    monkeypatch.setattr(source_walk, "MAX_FILES", 2)
    assert built(project, "app").facts["files"] == 2
    (project / "app/third.py").write_text("third")
    with pytest.raises(BuildFailed, match="holds more than 2 files or 256 MB; name the folders"):
        built(project, "app")
    monkeypatch.undo()
    monkeypatch.setattr(source_walk, "MAX_BYTES", 9)
    with pytest.raises(BuildFailed, match="app holds more than"):
        built(project, "app")
    with pytest.raises(BuildFailed, match=r"none\.py does not exist; correct it in the profile"):
        built(project, "none.py")


def test_a_copy_of_each_file_is_kept_once_and_for_its_owner_only(project):
    """Two releases with the same file share it."""
    for word in ("one", "two", "one"):
        (project / "app/s.py").write_text(word)
        built(project, "app")
    kept = [path for path in (project.parent / "releases/objects").rglob("*") if path.is_file()]
    assert sorted(path.read_text() for path in kept) == ["one", "other", "two"]
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}


def test_a_file_above_the_bound_is_digested_and_not_kept(project, monkeypatch):
    """Another model is another release, too."""
    monkeypatch.setattr(source, "MAX_KEPT_BYTES", 2)
    first = built(project)
    assert not (project.parent / "releases/objects").exists()
    (project / "app/s.py").write_text("two")
    assert built(project).id != first.id


def test_what_changed_is_named_and_nothing_else(project):
    """An edit, a new file, a lost one, a bit; back as it was, nothing has changed."""
    releases = project.parent / "releases"
    taken = source.read(releases, built(project, "app").facts["source"])
    assert source.changed(taken, releases) == []
    (project / "app/s.py").write_text("two")
    (project / "app/new.py").write_text("new")
    (project / "app/other.py").unlink()
    names = [taken.label(path) for path in source.changed(taken, releases)]
    assert sorted(names) == ["app/new.py", "app/other.py", "app/s.py"]
    (project / "app/s.py").write_text("one")
    (project / "app/new.py").unlink()
    (project / "app/other.py").write_text("other")
    assert source.changed(taken, releases) == []
    (project / "app/s.py").chmod(0o755)
    assert len(source.changed(taken, releases)) == 1


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"directory": "/", "roots": [], "files": {"/a": {"x": 1}}}'])
def test_a_damaged_list_is_refused(project, content):
    """Nobody knows then whether what is there is the release."""
    releases = project.parent / "releases"
    key = built(project).facts["source"]
    (releases / "sources" / f"{key}.json").write_text(content)
    with pytest.raises(DeployError, match=r"gone or damaged.*type: tailrace deploy"):
        source.read(releases, key)


def test_the_digest_of_a_large_file_is_remembered_until_it_changes(tmp_path, monkeypatch):
    """By size, times and inode; one that was changed a moment ago is read again."""
    monkeypatch.setattr(file_digests, "LARGE_BYTES", 2)
    reads = []
    monkeypatch.setattr(file_digests.hashlib, "file_digest", lambda *a: reads.append(a) or DigestOf(len(reads)))
    large, digests = tmp_path / "model", FileDigests(tmp_path / "digests.json")
    large.write_text("one")
    assert [digests.of(large), digests.of(large)] == ["1", "2"]  # it was written just now
    monkeypatch.setattr(file_digests, "SETTLED_NS", -time.time_ns())
    assert [digests.of(large), digests.of(large)] == ["3", "3"]
    large.write_text("two")
    assert digests.of(large) == "4"
    (tmp_path / "digests.json").write_text("[]")
    assert digests.of(large) == "5"


class DigestOf:
    def __init__(self, number):
        self.number = number

    def hexdigest(self):
        return str(self.number)
