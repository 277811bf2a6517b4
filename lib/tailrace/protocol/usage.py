"""The tokens that the provider counted, by the names of chat completions, responses and embeddings."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final, NamedTuple

MOST_TOKENS: Final = 2**31 - 1
"""A larger count is cut to this one: it fits every column and every sum."""


class Usage(NamedTuple):
    """Token counts; when `known` is False the answer gave none, and the zeros mean nothing."""

    known: bool = False
    in_tok: int = 0
    out_tok: int = 0
    cached_tok: int = 0  # of in_tok
    reasoning_tok: int = 0  # of out_tok


NO_USAGE: Final = Usage()


def usage(document: object) -> Usage:
    """Return the usage of an answer or of an event of a stream; of the responses API it stands in `response`."""
    if not isinstance(document, dict):
        return NO_USAGE
    counts = document.get("usage")
    if not counts and isinstance(document.get("response"), dict):
        counts = document["response"].get("usage")
    return counted(counts)


def counted(counts: object) -> Usage:
    """Return the tokens in a `usage` object of either API."""
    if not isinstance(counts, dict):
        return NO_USAGE
    read = _number(_first(counts, "prompt_tokens", "input_tokens"))
    details = _first(counts, "prompt_tokens_details", "input_tokens_details")
    more = _first(counts, "completion_tokens_details", "output_tokens_details")
    return Usage(
        read is not None,
        read or 0,
        _number(_first(counts, "completion_tokens", "output_tokens")) or 0,
        _part(details, "cached_tokens") if details else _number(counts.get("prompt_cache_hit_tokens")) or 0,  # DeepSeek
        _part(more, "reasoning_tokens") if more else 0,
    )


def _first(counts: dict[str, Any], name: str, other: str) -> object:
    value = counts.get(name)
    return counts.get(other) if value is None else value


def _part(counts: object, name: str) -> int:
    return (_number(counts.get(name)) or 0) if isinstance(counts, dict) else 0


def _number(value: object) -> int | None:
    """Return a count from 0 to MOST_TOKENS; None when `value` is none, as true, NaN and "many" are not."""
    if type(value) is float and isfinite(value):
        value = int(value)
    if type(value) is not int or value < 0:
        return None
    return value if value < MOST_TOKENS else MOST_TOKENS
