"""Prompts of your own from three kinds of files."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tailrace.errors import LoadError
from tailrace.load import corpus


def test_jsonl(tmp_path: Path):
    """A known column, a bare string, or the last of the messages."""
    rows = [{"prompt": "a"}, "b", {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}]}]
    file = tmp_path / "p.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert corpus.read(file) == ("a", "b", "c")


def test_csv_and_parquet(tmp_path: Path):
    """A named column of a table; empty rows are left out."""
    frame = pd.DataFrame({"ask": ["x", "", "z, with comma"]})
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    assert corpus.read(tmp_path / "p.csv", "ask") == ("x", "z, with comma")
    assert corpus.read(tmp_path / "p.parquet", "ask") == ("x", "z, with comma")


@pytest.mark.parametrize(
    ("name", "text"), [("p.txt", "a"), ("p.jsonl", "{oops"), ("p.csv", "other\nx\n"), ("p.jsonl", "")]
)
def test_refuses_what_holds_no_prompts(tmp_path: Path, name: str, text: str):
    """A file without prompts is an error that names it."""
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(LoadError, match="prompts "):
        corpus.read(file)
