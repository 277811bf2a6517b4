"""The folder of a load."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from tailrace.cli.load.destination import claimed
from tailrace.errors import LoadError


def test_folders_of_one_second_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each claim has a folder of its own, also when the clock stands still."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda form: "20260102-030405")
    with claimed(None) as first, claimed(None) as second, claimed(None) as third:
        names = [folder.name for folder in (first, second, third)]
    assert names == ["20260102-030405", "20260102-030405-2", "20260102-030405-3"]


@pytest.mark.parametrize("exists", [False, True])
def test_loads_that_begin_together_never_share(tmp_path: Path, exists: bool):
    """Of eight loads that name one folder at one moment, each has its own; it makes no difference who made it."""
    out, together = tmp_path / "out", Barrier(8)
    if exists:
        out.mkdir()

    def load(number: int) -> Path:
        together.wait(30)
        with claimed(out) as folder:
            (folder / f"part-{number}").write_text("")
            together.wait(30)
            return folder

    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(load, range(8)))
    assert len(set(folders)) == 8
    assert all(len(list(folder.iterdir())) == 1 for folder in folders)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The load goes beside it, and says so."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.json").write_text("mine")
    with claimed(tmp_path / "out") as folder:
        assert folder == tmp_path / "out-2"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]
    assert f"is not empty: this load is in {tmp_path / 'out-2'}" in capsys.readouterr().err


def test_an_empty_folder_may_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A folder that exists is kept, whatever happens in it, and nothing is said."""
    with claimed(tmp_path) as folder:
        assert folder == tmp_path
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("content", ["", "records"])
def test_only_a_folder_that_stays_empty_is_removed(tmp_path: Path, content: str):
    """A load that could not begin leaves nothing behind; one that wrote something leaves that."""
    with claimed(tmp_path / "a" / "out") as folder:
        if content:
            (folder / "part-0").write_text(content)
    assert (tmp_path / "a" / "out").is_dir() == bool(content)


@pytest.mark.parametrize("name", ["file/out", "file"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, name: str):
    """The message names the option."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LoadError, match="--out"), claimed(tmp_path / name):
        pass
