"""The simulator's count of tokens: one rule for prompts and answers.

1. A text has one token for every four characters, rounded up; an empty text has none.
2. A chat message, or an item of a response's input, has the tokens of its content and `PER_MESSAGE` for its role and
   separators. The arguments of its tool calls count as texts.
3. Of a content in parts, each text part counts as a text of its own; images, audio and files count nothing.
4. A prompt in token numbers has one token for each number. Definitions of tools, names and schemas count nothing.

It is not a tokenizer. It is cheap, the same everywhere, and consistent: the chunks of a streamed answer, put together,
have as many tokens as its usage says, and an answer that is sent back in the next prompt counts as many again.
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
    return sum(PER_MESSAGE + count_content(message.get("content")) + _count_calls(message) for message in messages)


def count_prompt(prompt: str | list[int]) -> int:
    """Return the number of tokens of a prompt without messages: a text, or token numbers."""
    return count(prompt) if isinstance(prompt, str) else len(prompt)


def cached(tokens: int, content: dict[str, Any]) -> int:
    """Return how many of a prompt's `tokens` are reported as cached.

    The simulator has no prompt cache, so a rule stands in for it: a request with a `prompt_cache_key` and at least
    1,024 tokens has all of its whole blocks of 128 cached.
    """
    return tokens // 128 * 128 if tokens >= 1024 and content.get("prompt_cache_key") else 0


def _has_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


def _count_calls(message: dict[str, Any]) -> int:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return 0
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    arguments = [function.get("arguments") for function in functions if isinstance(function, dict)]
    return sum(count(text) for text in arguments if isinstance(text, str))
