"""The tokens that the provider counted, and whether an answer is complete enough to be cached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

FINISHED: Final = ("stop", "tool_calls", "function_call")
"""Not "length" and not "content_filter": those answers were cut."""


@dataclass(slots=True)
class Usage:
    """Token counts; when `known` is False the answer gave none, and the zeros mean nothing."""

    known: bool = False
    in_tok: int = 0
    out_tok: int = 0
    cached_tok: int = 0
    reasoning_tok: int = 0


NO_USAGE: Final = Usage()
_CHAT: Final = ("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details")
_RESPONSES: Final = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")


@dataclass(slots=True)
class Reading:
    """What an answer says about itself: whether it is complete, its usage and its model."""

    complete: bool
    usage: Usage
    model: str


UNREAD: Final = Reading(False, NO_USAGE, "")


def reading(document: object, operation: str) -> Reading:
    """Return what the answer `document` to `operation` says about itself."""
    if not isinstance(document, dict) or document.get("error"):
        return UNREAD
    model = document.get("model")
    return Reading(
        _complete(document, operation), usage(document.get("usage")), model if isinstance(model, str) else ""
    )


def usage(counts: object) -> Usage:
    """Return the tokens in a `usage` object of either API."""
    if not isinstance(counts, dict):
        return NO_USAGE
    read, read_more, written, written_more = _RESPONSES if "input_tokens" in counts else _CHAT
    return Usage(
        isinstance(counts.get(read), int),
        _number(counts.get(read)),
        _number(counts.get(written)),
        _part(counts[read_more], "cached_tokens") if read_more in counts else 0,
        _part(counts[written_more], "reasoning_tokens") if written_more in counts else 0,
    )


def _complete(document: dict[str, Any], operation: str) -> bool:
    if operation == "embeddings":
        return bool(document.get("data"))
    if operation == "responses":
        return document.get("status") == "completed"
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices:
        return False
    return all(map(_finished, choices))


def _finished(choice: object) -> bool:
    return isinstance(choice, dict) and choice.get("finish_reason") in FINISHED


def _part(counts: object, name: str) -> int:
    return _number(counts.get(name)) if isinstance(counts, dict) else 0


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
