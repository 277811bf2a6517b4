"""The folder of a load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.cli.load.destination import claimed
from tailrace.errors import LoadError


def test_folders_of_one_second_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each claim makes a folder of its own, also when the clock stands still."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260102-030405")
    with claimed(None) as first, claimed(None) as second, claimed(None) as third:
        names = [folder.name for folder in (first, second, third)]
    assert names == ["20260102-030405", "20260102-030405-2", "20260102-030405-3"]


def test_an_empty_folder_may_be_named(tmp_path: Path):
    """A folder that exists is kept, whatever happens in it."""
    with claimed(tmp_path) as folder:
        assert folder == tmp_path
    assert tmp_path.is_dir()


@pytest.mark.parametrize("content", ["", "records"])
def test_only_a_folder_that_stays_empty_is_removed(tmp_path: Path, content: str):
    """A load that could not begin leaves nothing behind; one that wrote something leaves that."""
    with claimed(tmp_path / "a" / "out") as folder:
        if content:
            (folder / "part-0").write_text(content)
    assert (tmp_path / "a" / "out").is_dir() == bool(content)


@pytest.mark.parametrize("name", [".", "file/out", "file"])
def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, name: str):
    """One with something in it, and a path that is no folder: the message names the option."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadError, match="--out"), claimed(tmp_path / name):
        pass
