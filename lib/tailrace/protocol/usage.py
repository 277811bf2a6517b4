"""The tokens that the provider counted, by the names of chat completions, responses and embeddings."""

from __future__ import annotations

from math import isfinite
from typing import Final, NamedTuple

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
_CHAT: Final = ("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details")
_RESPONSES: Final = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")


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
    read, details, written, more = _RESPONSES if "input_tokens" in counts else _CHAT
    in_tok, out_tok = counts.get(read), counts.get(written)
    if type(in_tok) is not int or not 0 <= in_tok < MOST_TOKENS:
        in_tok = _number(in_tok)
    if type(out_tok) is not int or not 0 <= out_tok < MOST_TOKENS:
        out_tok = _number(out_tok)
    cached = _part(counts[details], "cached_tokens") if details in counts else 0
    if not cached and "prompt_cache_hit_tokens" in counts:  # DeepSeek
        cached = _part(counts, "prompt_cache_hit_tokens")
    reasoning = _part(counts[more], "reasoning_tokens") if more in counts else 0
    return Usage(in_tok is not None, in_tok or 0, out_tok or 0, cached, reasoning)


def _part(counts: object, name: str) -> int:
    return (_number(counts[name]) or 0) if isinstance(counts, dict) and name in counts else 0


def _number(value: object) -> int | None:
    """Return a count from 0 to MOST_TOKENS; None when `value` is none, as true, NaN and "many" are not."""
    if type(value) is int:
        return value if 0 <= value < MOST_TOKENS else MOST_TOKENS if value > 0 else None
    return _number(int(value)) if type(value) is float and isfinite(value) else None
