"""The estimate by which the simulator counts: one token for every four characters that were begun.

It is no tokenizer. It is cheap, the same everywhere, and exact about itself: a streamed answer has as many
text chunks as its usage says completion tokens.
"""

from __future__ import annotations

from typing import Any

CHARACTERS = 4
PER_MESSAGE = 4
"""Tokens that the role and the separators of a chat message are counted as."""


def count(text: str) -> int:
    """Return the tokens of `text`; none for no text."""
    return -(-len(text) // CHARACTERS)


def pieces(text: str) -> list[str]:
    """Return `text` cut into its tokens: `len(pieces(text)) == count(text)`."""
    return [text[i : i + CHARACTERS] for i in range(0, len(text), CHARACTERS)]


def count_content(content: Any) -> int:
    """Return the tokens of a message's content: a text, or a list of parts, of which only texts count."""
    if isinstance(content, str):
        return count(content)
    if isinstance(content, list):
        return sum(count(part["text"]) for part in content if isinstance(part, dict) and _has_text(part))
    return 0


def count_messages(messages: list[dict[str, Any]]) -> int:
    """Return the tokens of a conversation."""
    return sum(PER_MESSAGE + count_content(message.get("content")) for message in messages)


def cached(tokens: int, content: dict[str, Any]) -> int:
    """Return how many of a prompt's `tokens` are called cached.

    Without state there is no prompt cache, so a rule stands in for it: a request with a `prompt_cache_key` and
    at least 1,024 tokens is said to have found all its whole blocks of 128.
    """
    return tokens // 128 * 128 if tokens >= 1024 and content.get("prompt_cache_key") else 0


def _has_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)
