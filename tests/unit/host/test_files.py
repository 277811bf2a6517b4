"""A file is replaced whole or not at all."""

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
