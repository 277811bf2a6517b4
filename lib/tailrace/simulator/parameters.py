"""Parameters of a request's body, validated as OpenAI does."""

from __future__ import annotations

from typing import Any

from tailrace.simulator import api_errors

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


def sampling(content: Content) -> None:
    """Check the sampling parameters that chat and responses share."""
    number(content, "temperature", 0, 2)
    number(content, "top_p", 0, 1)
