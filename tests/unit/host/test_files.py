"""A file is replaced whole or not at all."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tailrace.host import files


@pytest.mark.parametrize("write", [files.write, files.replace])
def test_writing_leaves_no_other_file(tmp_path, write):
    """A replaced file is whole, and its draft is gone."""
    for text in ("one", "two"):
        write(tmp_path / "a.json", text)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "two")]


def test_replacing_creates_the_folder(tmp_path):
    """The first file of a folder needs no preparation."""
    files.replace(tmp_path / "deep" / "a.json", "one")
    assert (tmp_path / "deep" / "a.json").read_text() == "one"


@pytest.mark.parametrize("write", [files.write, files.replace])
def test_threads_that_write_the_same_file_do_not_take_each_other_s_draft(tmp_path, write):
    """Each succeeds, and the file is one of theirs."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write(tmp_path / "a.json", f"{n}" * 1000), range(200)))
    assert len(set((tmp_path / "a.json").read_text())) <= 3
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def test_with_one_draft_a_process_they_would(tmp_path, monkeypatch):
    """The negative control: the drafts of two threads were once the same file."""
    monkeypatch.setattr(files.threading, "get_native_id", os.getpid)

    def write_often():
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: files.replace(tmp_path / "a.json", f"{n}" * 1000), range(20_000)))

    with pytest.raises(FileNotFoundError):
        write_often()
