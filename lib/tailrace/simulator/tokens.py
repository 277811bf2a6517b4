"""The simulator's estimate of tokens: one for every four characters, rounded up.

It is not a tokenizer. It is cheap, the same everywhere, and consistent: a streamed response has as many text chunks
as its usage counts completion tokens.
"""

from __future__ import annotations

from typing import Any

CHARACTERS = 4
PER_MESSAGE = 4
"""Tokens counted for the role and the separators of a chat message."""


def count(text: str) -> int:
    """Return the number of tokens of `text`; 0 for an empty one."""
    return -(-len(text) // CHARACTERS)


def pieces(text: str) -> list[str]:
    """Return `text` cut into its tokens: `len(pieces(text)) == count(text)`."""
    return [text[i : i + CHARACTERS] for i in range(0, len(text), CHARACTERS)]


def count_content(content: Any) -> int:
    """Return the number of tokens of a message's content: a text, or a list of parts, of which only texts count."""
    if isinstance(content, str):
        return count(content)
    if isinstance(content, list):
        return sum(count(part["text"]) for part in content if isinstance(part, dict) and _has_text(part))
    return 0


def count_messages(messages: list[dict[str, Any]]) -> int:
    """Return the number of tokens of a conversation."""
    return sum(PER_MESSAGE + count_content(message.get("content")) for message in messages)


def cached(tokens: int, content: dict[str, Any]) -> int:
    """Return how many of a prompt's `tokens` are reported as cached.

    The simulator has no prompt cache, so a rule stands in for it: a request with a `prompt_cache_key` and at least
    1,024 tokens has all of its whole blocks of 128 cached.
    """
    return tokens // 128 * 128 if tokens >= 1024 and content.get("prompt_cache_key") else 0


def _has_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)
