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


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("write", [files.write, files.replace])
def test_what_is_made_is_for_its_user_alone(tmp_path, no_umask, write):
    """Whatever the umask: folders, also those in between, and files. Negative control: `mkdir` and `open` heed it."""
    folder = files.make_folder(tmp_path / "a" / "b")
    write(folder / "one", "1")
    with open(folder / "two", "ab", opener=files.private):
        pass
    assert [mode(path) for path in (tmp_path / "a", folder)] == [0o700] * 2
    assert [mode(folder / name) for name in ("one", "two")] == [0o600] * 2
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "one").touch()
    assert (mode(tmp_path / "c"), mode(tmp_path / "c" / "one")) == (0o777, 0o666)


def test_a_folder_that_is_there_keeps_its_mode(tmp_path):
    """A user may have made it for others; and a file in its place is an error."""
    tmp_path.chmod(0o755)
    assert mode(files.make_folder(tmp_path)) == 0o755
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        files.make_folder(tmp_path / "file")


@pytest.mark.parametrize("umask", [0, 0o022, files.UMASK])
def test_a_folder_that_is_shared_with_a_group_hands_it_the_files(tmp_path, umask):
    """As the edge's in a container, which runs as another user; a group that may not enter gets nothing."""
    os.umask(umask)
    tmp_path.chmod(files.SHARED_FOLDER)
    files.write(tmp_path / "one", "1")
    tmp_path.chmod(0o2700)
    files.write(tmp_path / "two", "2")
    assert (mode(tmp_path / "one"), mode(tmp_path / "two")) == (0o640, 0o600)


def test_a_link_in_the_place_of_a_draft_is_not_followed(tmp_path):
    """In a folder that others may write into, it would have another file overwritten."""
    (tmp_path / "other").write_text("mine")
    files._beside(tmp_path / "one").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        files.replace(tmp_path / "one", "1")
    assert (tmp_path / "other").read_text() == "mine"
