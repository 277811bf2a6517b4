"""Reading parameters out of a request's body, refusing what OpenAI would refuse."""

from __future__ import annotations

from typing import Any

from tailrace.simulator import refusals

CONTEXT_TOKENS = 128_000
"""Of a model that is not in `CONTEXTS`."""
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
"""Models that are listed, with the size of their context; others are answered all the same."""

Content = dict[str, Any]


def required(content: Content, name: str) -> Any:
    """Return a parameter that has to be there."""
    if content.get(name) is None:
        raise refusals.missing(name)
    return content[name]


def model(content: Content) -> str:
    name = required(content, "model")
    if not isinstance(name, str) or not name:
        raise refusals.wrong_type("model", "a model's name", name)
    return name


def number(content: Content, name: str, low: float, high: float) -> float | None:
    """Return a number within limits, or None when it is not given."""
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusals.wrong_type(name, "a decimal", value)
    if not low <= value <= high:
        raise refusals.wrong_value(name, f"expected a value from {low:g} to {high:g}, but got {value:g} instead")
    return value


def integer(content: Content, name: str, low: int, high: int) -> int | None:
    """Return an integer within limits, or None when it is not given."""
    value = content.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusals.wrong_type(name, "an integer", value)
    if not low <= value <= high:
        raise refusals.wrong_value(name, f"expected a value from {low} to {high}, but got {value} instead")
    return value


def flag(content: Content, name: str) -> bool:
    value = content.get(name)
    if not isinstance(value, bool | None):
        raise refusals.wrong_type(name, "a boolean", value)
    return bool(value)


def mapping(content: Content, name: str) -> Content:
    value = content.get(name)
    if not isinstance(value, dict | None):
        raise refusals.wrong_type(name, "an object", value)
    return value or {}


def objects(content: Content, name: str) -> list[Content]:
    value = content.get(name)
    if not isinstance(value, list | None) or not all(isinstance(item, dict) for item in value or ()):
        raise refusals.wrong_type(name, "an array of objects", value)
    return value or []


def fits(model: str, tokens: int, param: str) -> None:
    """Refuse input that is longer than the model's context."""
    limit = CONTEXTS.get(model, CONTEXT_TOKENS)
    if tokens > limit:
        raise refusals.too_long(limit, tokens, param)


def sampling(content: Content) -> None:
    """Check the parameters that chat and responses have in common."""
    number(content, "temperature", 0, 2)
    number(content, "top_p", 0, 1)
