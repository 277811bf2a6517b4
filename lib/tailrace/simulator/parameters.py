"""Parameters of a request's body, validated as OpenAI does."""

from __future__ import annotations

from typing import Any

from tailrace.simulator import api_errors
from tailrace.simulator.chunks import Counting
from tailrace.simulator.dialect import Dialect
from tailrace.simulator.text import Length
from tailrace.simulator.usage import ChatUsage

CONTEXT_TOKENS = 128_000
"""Context size of a model that is not in `CONTEXTS`."""
CONTEXTS = {
    "gpt-3.5-turbo": 16_385,
    "gpt-4": 8_192,
    "gpt-4.1": 1_047_576,
    "gpt-4.1-mini": 1_047_576,
    "gpt-4o": 128_000,
    "gpt-4o-mini": 128_000,
    "text-embedding-3-large": 8_192,
    "text-embedding-3-small": 8_192,
}
"""The models that are listed, with the size of their context; requests may use any other name, too."""

MAX_TOKENS = 1_000_000
"""The largest limit of tokens that a request may name."""

Content = dict[str, Any]


def required(content: Content, name: str) -> Any:
    """Return a required parameter; raises ApiError without it."""
    if content.get(name) is None:
        raise api_errors.missing(name)
    return content[name]


def model(content: Content) -> str:
    name = required(content, "model")
    if not isinstance(name, str) or not name:
        raise api_errors.wrong_type("model", "a model's name", name)
    return name


def number(content: Content, name: str, low: float, high: float) -> float | None:
    """Return a number within limits, or None if it is absent."""
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise api_errors.wrong_type(name, "a decimal", value)
    if not low <= value <= high:
        raise api_errors.wrong_value(name, f"expected a value from {low:g} to {high:g}, but got {value:g} instead")
    return value


def integer(content: Content, name: str, low: int, high: int) -> int | None:
    """Return an integer within limits, or None if it is absent."""
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise api_errors.wrong_type(name, "an integer", value)
    if not low <= value <= high:
        raise api_errors.wrong_value(name, f"expected a value from {low} to {high}, but got {value} instead")
    return value


def flag(content: Content, name: str) -> bool:
    value = content.get(name)
    if not isinstance(value, bool | None):
        raise api_errors.wrong_type(name, "a boolean", value)
    return bool(value)


def mapping(content: Content, name: str) -> Content:
    value = content.get(name)
    if not isinstance(value, dict | None):
        raise api_errors.wrong_type(name, "an object", value)
    return value or {}


def objects(content: Content, name: str) -> list[Content]:
    value = content.get(name)
    if not isinstance(value, list | None) or not all(isinstance(item, dict) for item in value or ()):
        raise api_errors.wrong_type(name, "an array of objects", value)
    return value or []


def fits(model: str, tokens: int, param: str) -> None:
    """Raise ApiError for input that is longer than the model's context."""
    limit = CONTEXTS.get(model, CONTEXT_TOKENS)
    if tokens > limit:
        raise api_errors.too_long(limit, tokens, param)


def length(content: Content, *limits: str, default: int | None = None) -> Length:
    """Return how many tokens are asked for: by the first of `limits` that is there, `min_tokens` and `ignore_eos`.

    The last two are vLLM's. With `ignore_eos` an answer ends at its limit and nowhere else; without a limit, where it
    ends by itself.
    """
    limit = default
    for name in reversed(limits):
        if content.get(name) is not None:
            limit = integer(content, name, 1, MAX_TOKENS)
    least = integer(content, "min_tokens", 0, MAX_TOKENS) or 0
    if limit is None:
        return Length(least)
    if least > limit:
        raise api_errors.wrong_value("min_tokens", f"expected at most the limit of {limit} tokens, but got {least}")
    return Length(limit if flag(content, "ignore_eos") else least, limit)


def sampling(content: Content, dialect: Dialect) -> None:
    """Check the sampling parameters that chat, completions and responses share."""
    for name, high in (("temperature", 2), ("top_p", 1)):
        value = number(content, name, 0, high)
        if value is not None and value != 1 and dialect.reasoning_model:
            raise api_errors.only_default(name, value)


def counting(content: Content, usage: ChatUsage, dialect: Dialect) -> Counting:
    """Return which chunks carry the usage, by `stream_options` and the dialect."""
    options = mapping(content, "stream_options")
    last = bool(options.get("include_usage"))
    each = dialect.usage_in_each_chunk or (last and bool(options.get("continuous_usage_stats")))
    return Counting(usage.json, last, each)


def prompts(content: Content, name: str, most: int) -> list[str | list[int]]:
    """Return the prompts of a parameter that takes one or several: texts, or arrays of token numbers."""
    value = required(content, name)
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str | list) for item in value):
        raise api_errors.wrong_type(name, "a string, an array of strings or of tokens", value)
    if not 1 <= len(value) <= most or not all(value):
        raise api_errors.wrong_value(name, f"expected 1 to {most} of them, none of them empty")
    return value
