"""Prompts of your own, from the kinds of files that people have."""

import json
from pathlib import Path

import orjson
import pandas as pd
import pytest

from tailrace.errors import LoadError
from tailrace.load import Workload, corpus
from tailrace.load.bodies import Conversation


def test_jsonl(tmp_path: Path):
    """A known column, a bare string, or the only message; a BOM and blank lines are no rows."""
    rows = [{"prompt": "a"}, "b", {"messages": [{"role": "user", "content": "c"}]}]
    file = tmp_path / "p.jsonl"
    file.write_text("\ufeff" + "\r\n\r\n".join(map(json.dumps, rows)) + "\n\n")
    assert corpus.read(file) == ("a", "b", "c")


def test_csv_and_parquet(tmp_path: Path):
    """A named column of a table; empty rows are left out."""
    frame = pd.DataFrame({"ask": ["x", "", "z, with comma"]})
    frame.to_csv(tmp_path / "p.csv", index=False)
    frame.to_parquet(tmp_path / "p.parquet")
    assert corpus.read(tmp_path / "p.csv", "ask") == ("x", "z, with comma")
    assert corpus.read(tmp_path / "p.parquet", "ask") == ("x", "z, with comma")


def said(*messages: tuple[str, str]) -> list[dict]:
    return [{"role": role, "content": content} for role, content in messages]


ANSWERED = said(("system", "Be short."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Why?"), ("assistant", "So."))
SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}, {"from": "human", "value": "Why?"}]


def test_a_conversation_is_sent_up_to_its_last_question(tmp_path: Path):
    """System message and history are kept; the assistant's last message is the answer, and is not sent."""
    (tmp_path / "p.jsonl").write_text(json.dumps({"messages": ANSWERED}))
    assert corpus.read(tmp_path / "p.jsonl") == (Conversation(tuple(ANSWERED[:4])),)
    sent = orjson.loads(Workload(prompts=corpus.read(tmp_path / "p.jsonl")).request(0).body)["messages"]
    assert sent == ANSWERED[:4]


def test_tool_calls_and_content_parts_are_kept(tmp_path: Path):
    """Parts of a content and calls of tools are sent as they are; a tool's result is a question to the model."""
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = [
        {"role": "user", "content": parts},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "4"},
    ]
    (tmp_path / "p.jsonl").write_text(json.dumps({"messages": talk}))
    assert corpus.read(tmp_path / "p.jsonl") == (Conversation(tuple(talk)),)


@pytest.mark.parametrize("name", ["p.json", "p.jsonl", "p.parquet"])
def test_sharegpt(tmp_path: Path, name: str):
    """ShareGPT's roles become OpenAI's, in its own suffix, in JSONL and in parquet."""
    rows = [{"id": "1", "conversations": SHAREGPT}, {"id": "2", "conversations": SHAREGPT[:2]}]
    if name == "p.parquet":
        pd.DataFrame(rows).to_parquet(tmp_path / name)
    else:
        (tmp_path / name).write_text(json.dumps(rows) if name == "p.json" else "\n".join(map(json.dumps, rows)))
    assert corpus.read(tmp_path / name) == (Conversation(tuple(ANSWERED[1:4])), "Hi")


def test_conversations_in_the_cells_of_a_table(tmp_path: Path):
    """A cell of CSV holds its messages as JSON; they are sent as messages, not as a text with brackets."""
    pd.DataFrame({"messages": [json.dumps(ANSWERED)]}).to_csv(tmp_path / "p.csv", index=False)
    assert corpus.read(tmp_path / "p.csv") == (Conversation(tuple(ANSWERED[:4])),)
    (tmp_path / "p.csv").write_text("messages\nHi\n")
    with pytest.raises(LoadError, match="line 2: found messages 'Hi'; expected a list of messages"):
        corpus.read(tmp_path / "p.csv")


def test_plain_text_and_long_fields(tmp_path: Path):
    """A text file is a prompt a line; a field of CSV may be long, and hold line breaks and quotes."""
    (tmp_path / "p.txt").write_text("\ufeffone\n\n two \r\n")
    assert corpus.read(tmp_path / "p.txt") == ("one", "two")
    long = 'say "x"\n' + "x" * 200_000
    pd.DataFrame({"prompt": ["a", long]}).to_csv(tmp_path / "p.csv", index=False, encoding="utf-8-sig")
    assert corpus.read(tmp_path / "p.csv") == ("a", long)


def test_rows_without_a_prompt_are_counted(tmp_path: Path):
    """A row without text, and a conversation in which nobody asks, are left out, and said to be."""
    rows = [{"prompt": "a"}, {"other": "b"}, {"messages": ANSWERED[:1]}, {"conversations": []}, {"prompt": " "}]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = corpus.load(tmp_path / "p.jsonl")
    assert found.prompts == ("a",)
    assert str(found) == "1 prompts; left out: 3 without text, 1 without a question"


BROKEN = {
    "no text": ("p.txt", b"\n", "none with text"),
    "no file": ("p.none", b"", "found .none, expected one of"),
    "no column": ("p.csv", b"other\nx\n", "none with text in a column prompt"),
    "empty": ("p.jsonl", b"", "0 rows"),
    "a broken line": ("p.jsonl", b'{"prompt":"a"}\n{"prompt": oops}\n', "line 2: found .*oops"),
    "a number": ("p.jsonl", b"5\n", "line 1: found a int"),
    "a message without a role": ("p.jsonl", b'{"messages": [{"content": "a"}]}', "line 1: found the message"),
    "ShareGPT of an unknown role": ("p.jsonl", b'{"conversations": [{"from": "dog", "value": "a"}]}', "line 1: .*dog"),
    "JSON that ends early": ("p.json", b'[{"prompt": "a"},\n', "line"),
    "Latin-1": ("p.csv", "prompt\ncafé\n".encode("latin-1"), "line 2: found byte 0xe9 .*Latin-1"),
    "an open quote": ("p.csv", b'prompt\n"a\n', "line 2"),
    "a field too many": ("p.csv", b"prompt\na,b\n", "line 2: found 2 fields; expected 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_what_it_cannot_read(tmp_path: Path, name: str):
    """A file without prompts, and a broken line, are errors that name the file, the place and what was expected."""
    file_name, content, expected = BROKEN[name]
    (tmp_path / file_name).write_bytes(content)
    with pytest.raises(LoadError, match=f"prompts .*{expected}"):
        corpus.read(tmp_path / file_name)


def test_more_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All prompts are held in memory, so a file over the limit is refused."""
    (tmp_path / "p.txt").write_text("word\n" * 100)
    assert len(corpus.read(tmp_path / "p.txt")) == 100
    monkeypatch.setattr(corpus, "MOST_BYTES", 400)
    with pytest.raises(LoadError, match="all prompts are in memory"):
        corpus.read(tmp_path / "p.txt")
