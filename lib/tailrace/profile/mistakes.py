"""The mistakes in a profile, each in one sentence: where it stands, what was found, and what to write."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tailrace import policy_rules
from tailrace.profile import schema
from tailrace.profile.schema import Place, Schema

MOST_CHARACTERS: Final = 80
"""A longer value is cut where it is shown."""
MOST_TOLD: Final = 20
"""Mistakes in one message."""


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return a sentence for each of the first `MOST_TOLD` mistakes that pydantic has found."""
    sentences = (_sentence(detail, model) for detail in error.errors(include_url=False)[:MOST_TOLD])
    return list(dict.fromkeys(sentences))


def listed(mistakes: Sequence[str], count: int = 0) -> str:
    """Return the first mistakes, one a line, and how many more there are; `count` where that is more than are given."""
    more = max(count, len(mistakes)) - MOST_TOLD
    return "\n".join([*mistakes[:MOST_TOLD], *([f"and {more:,} more: correct these first"] if more > 0 else [])])


def converted(document: Any, model: type[BaseModel]) -> Iterator[str]:
    """Yield a sentence for each value that pydantic would convert: what it means is not guessed."""
    for place, value, at in schema.values(document, Schema(model)):
        kinds = {option.annotation for option in at.options}
        word = isinstance(value, str) and any(value in getattr(kind, "__args__", ()) for kind in kinds)
        number = bool(kinds & {int, float}) and not kinds & {str, bool, Any} and not word
        if (number and isinstance(value, str | bool)) or (bool in kinds and not isinstance(value, bool | None)):
            yield _told(place, value, at)


def near(name: str, known: Sequence[str]) -> str:
    """Return the question that names the known one most like `name`; "" when none is."""
    lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f"; did you mean {lower[found[0]]}?" if found else ""


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    place, at = schema.find(model, detail["loc"])
    value, kind = detail["input"], detail["type"]
    if kind == "extra_forbidden":
        return _unknown(place, value, model)
    if detail["loc"][-1:] == ("[key]",):
        wanted = Schema.of(_key_type(model, place)).expected(place)
        hint = near(str(value), _words(model, place))
        return f"{_key(place[:-1])}: found the name {_shown(place[-1])}; expected {wanted}{hint}"
    if kind in ("value_error", "assertion_error"):
        return f"{_key(place)}: found {_shown(value)}; {detail['ctx']['error']}"
    if kind == "missing":
        return f"{_key(place)}: found nothing; it is required: expected {at.expected(place) if at else 'a value'}"
    if kind == "recursion_loop":
        return f"{_key(place)}: found an anchor that holds itself; expected a value, written out"
    return _told(place, value, at)


def _told(place: Place, value: Any, at: Schema | None) -> str:
    wanted = at.expected(place) if at is not None else "another value"
    return f"{_key(place)}: found {_shown(value)}; expected {wanted}{_advice(place, value, at)}"


def _unknown(place: Place, value: Any, model: type[BaseModel]) -> str:
    """Return the sentence for an unknown key: the one that is like it here, or the place where it belongs."""
    _, section = schema.find(model, place[:-1])
    here = list(schema.fields_of(section.model)) if section is not None and section.model is not None else []
    hint = near(str(place[-1]), here)
    elsewhere = [".".join(map(str, one)) for one in schema.keys(model) if one[-1] == place[-1]]
    if elsewhere and not hint:
        hint = f"; did you mean {' or '.join(elsewhere[:3])}?"
    return f"{_key(place)}: found {_shown(value)}; unknown key; expected {', '.join(here)}{hint}"


def _advice(place: Place, value: Any, at: Schema | None) -> str:
    """Return what to write in place of `value`, where that can be said without guessing."""
    kinds = [option.annotation for option in at.options] if at is not None else []
    listed = any(getattr(kind, "__origin__", None) is tuple for kind in kinds)
    if listed and isinstance(value, str):
        return f"; write {_list(_split(value))}"
    if str in kinds and isinstance(value, bool | int | float):
        return f'; write "{_yaml(value)}", in quotes'
    if str in kinds and value is None:
        return '; write "" for an empty one'
    if str in kinds and isinstance(value, dict) and list(value.values()) == [None]:
        return f"; write '{{{next(iter(value))}}}', in quotes: braces without them begin a mapping"
    words = [str(word) for kind in kinds for word in getattr(kind, "__args__", ()) if isinstance(word, str)]
    return near(value, words) if words and isinstance(value, str) else ""


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote that is not closed
        return text.split()


def _list(words: list[str]) -> str:
    return yaml.safe_dump(words, default_flow_style=True, width=1 << 20, allow_unicode=True).strip()


def _key(place: Place) -> str:
    return ".".join(map(str, place)) or "(top level)"


def _shown(value: Any) -> str:
    """Return a value as it stands in YAML, or what it is when it is long."""
    if isinstance(value, BaseModel):
        return "a section"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(str, list(value)[:5]))}" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, str) and "://" in value:
        shown = policy_rules.shown_url(value)
    else:
        shown = repr(value) if isinstance(value, str) else _yaml(value)
    return shown if len(shown) <= MOST_CHARACTERS else f"{shown[:MOST_CHARACTERS]}…"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    return str(value)


def _key_type(model: type[BaseModel], place: Place) -> Any:
    """Return the type of the names in the mapping that the last part of `place` is in."""
    _, mapping = schema.find(model, place[:-1])
    return getattr(mapping.annotation, "__args__", (str,))[0] if mapping is not None else str


def _words(model: type[BaseModel], place: Place) -> list[str]:
    return [word for word in getattr(_key_type(model, place), "__args__", ()) if isinstance(word, str)]
