"""Your own prompts, from a JSONL, JSON, CSV, parquet or text file (a prompt a line).

A row holds a text, or a conversation: OpenAI's `messages`, or ShareGPT's `conversations`. Of a conversation everything
is sent up to what the model is to answer: system message, history and content parts; a last message of the assistant,
as in files for training, is the answer, and is never sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from tailrace.errors import LoadError
from tailrace.load.bodies import Conversation, Prompt
from tailrace.load.tables import Source

COLUMNS: Final = ("prompt", "text", "content", "question", "input")
"""The columns that may hold the prompt, in this order, when none is named."""
TALKS: Final = ("messages", "conversations", "conversation")
"""The columns that may hold a conversation, in this order."""
MOST_BYTES: Final = 1 << 30
_ROLES: Final = {
    "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant",
    "bard": "assistant", "assistant": "assistant", "model": "assistant", "system": "system",
}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """The prompts of a file, and how many of its rows hold none, by reason."""

    prompts: tuple[Prompt, ...]
    left_out: dict[str, int]

    def __str__(self) -> str:
        line = f"{len(self.prompts):,} prompts"
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        return f"{line}; left out: {reasons}" if reasons else line


def read(path: Path, column: str = "") -> tuple[Prompt, ...]:
    """Return the prompts in `path`, in order: a string, or a Conversation where there is more than one user's text."""
    return load(path, column).prompts


def load(path: Path, column: str = "") -> Corpus:
    """Return the prompts in `path`, and what was left out.

    Raises LoadError, with the line, for a row that is broken, and when no row holds a prompt.
    """
    if path.is_file() and (size := path.stat().st_size) > MOST_BYTES:
        raise LoadError(f"prompts {path}: {size >> 20} MiB; all prompts are in memory, so at most {MOST_BYTES >> 20}")
    source, prompts, left_out = Source("prompts", path), [], Counter[str]()
    for line, value in source.rows():
        prompt = _prompt(source, line, value, column)
        if prompt:
            prompts.append(prompt)
        else:
            left_out["without a question" if prompt is None else "without text"] += 1
    if not prompts:
        names = column or ", ".join((*COLUMNS, *TALKS))
        raise LoadError(f"prompts {path}: {left_out.total()} rows, none with text in a column {names}")
    return Corpus(tuple(prompts), dict(left_out))


def _prompt(source: Source, line: int, value: Any, column: str) -> Prompt | None:
    """Return the prompt of a row: "" when it has no text, None when nobody asks anything in its conversation."""
    if isinstance(value, str):
        return value.strip()
    if not isinstance(value, dict):
        source.refuse(line, f"a {type(value).__name__}", "a text, or an object")
    for name in (column,) if column else (*COLUMNS, *TALKS):
        stated = _listed(source, line, name, value.get(name))
        if isinstance(stated, str) and stated.strip():
            return stated.strip()
        if isinstance(stated, list) and stated:
            return _conversation(tuple(_messages(source, line, stated)))
    return ""


def _listed(source: Source, line: int, column: str, stated: Any) -> Any:
    """Return the value; the messages of a table's cell are often JSON, and never a text to send."""
    if column not in TALKS or not isinstance(stated, str) or not stated.strip():
        return stated
    try:
        messages = orjson.loads(stated)
    except orjson.JSONDecodeError:
        messages = None
    if not isinstance(messages, list):
        source.refuse(line, f"{column} {stated[:60]!r}", "a list of messages, or JSON of one")
    return messages


def _messages(source: Source, line: int, stated: list[Any]) -> Iterator[dict[str, Any]]:
    for one in stated:
        if isinstance(one, dict) and isinstance(one.get("role"), str):
            # Parquet has the same columns for all: those that a message does not use are null.
            yield {name: part for name, part in one.items() if part is not None or name == "content"}
        elif isinstance(one, dict) and isinstance(one.get("value"), str) and one.get("from") in _ROLES:
            yield {"role": _ROLES[one["from"]], "content": one["value"]}
        else:
            found = f"the message {str(one)[:60]}"
            source.refuse(line, found, f"role and content, or from ({', '.join(_ROLES)}) and value")


def _conversation(messages: tuple[dict[str, Any], ...]) -> Prompt | None:
    """Return the messages up to the last one that is not the assistant's."""
    while messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    if not any(message["role"] in ("user", "tool") and message.get("content") for message in messages):
        return None
    only = messages[0]
    if len(messages) == 1 and set(only) == {"role", "content"} and isinstance(only["content"], str):
        return str(only["content"])
    return Conversation(messages)
