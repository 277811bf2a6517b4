"""TAILRACE_POLICY: the client's `Policy` as JSON, laid over what the service's single settings say.

The names, types and limits are those of the dataclasses in `tailrace.client.policy`: they are read from their
annotations, so that this module lists none of them. What is left out keeps the service's own value, and `null` turns
a part off. Stores are texts, as `TAILRACE_CACHE`; keys stand in environment variables, which are named.
"""

from __future__ import annotations

import difflib
import functools
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import orjson
from pydantic import TypeAdapter, ValidationError

from tailrace.client.policy import Policy
from tailrace.client.stores import Memory
from tailrace.errors import SettingsError
from tailrace.service import stores
from tailrace.service.settings import shown

OpenStore: TypeAlias = Callable[[Any, str], Any]
"""Takes the text that names a store, and its place in the policy."""
NOT_IN_JSON: Final = {
    "Policy.hooks": "functions of the program; the service has its own, which count for /metrics",
    "Policy.attempt_hooks": "functions of the program; the service has its own, which counts targets for /metrics",
    "Retry.retry_if": "a function of the program",
}
"""The settings of a `Policy` that no text can say, each with the reason."""
_STORE: Final = "store"
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_]\w*)\}")
"""Stands for the value of a variable, where a store's URL holds a password."""
_LONGEST: Final = 1 << 20


class Mistake(Exception):
    """A value that is not allowed, with its place."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)


@dataclass(frozen=True)
class PolicyDocument:
    """What TAILRACE_POLICY says. `Policy` parts by name; a section is a mapping, None is "off"."""

    parts: Mapping[str, Any] = field(default_factory=dict)

    def says(self, section: str, name: str) -> bool:
        """Whether the document settles a field of a section: by its name, or because the section is off."""
        part = self.parts.get(section, {})
        return part is None or name in part

    def value(self, section: str, name: str, default: Any = None) -> Any:
        """Return the value of a field of a section; `default` where nothing is said, or the section is off."""
        return (self.parts.get(section) or {}).get(name, default)

    def over(self, policy: Policy, open_store: OpenStore) -> Policy:
        """Return `policy` with what is said here; raises Mistake at the first value that is not allowed."""
        return _laid_over(policy, self.parts, Policy, "", open_store)  # type: ignore[no-any-return]

    def missing(self, environment: Mapping[str, str]) -> list[str]:
        """Return a sentence for each variable that is named here and not set."""
        return [
            f"{place}: the variable {name} is not set or empty; set it, or take it out"
            for place, name in self.variables
            if not environment.get(name)
        ]

    def resolved(self, environment: Mapping[str, str]) -> PolicyDocument:
        """Return the document with the URLs of its stores; raises SettingsError where a variable names no store."""
        parts = dict(self.parts)
        for section, name in self._stores:
            try:
                parts[section] = {**parts[section], _STORE: stores.parse(environment[name])}
            except ValueError:
                message = f"{section}.{_STORE}: the variable {name} names no store; expected one of: {stores.EXPECTED}"
                raise SettingsError(message) from None
        return PolicyDocument(parts)

    @property
    def variables(self) -> Iterator[tuple[str, str]]:
        """The place and the name of each environment variable that holds a key, or the URL of a store."""
        yield from ((f"{section}.{_STORE}", name) for section, name in self._stores)
        for part, items in self.parts.items():
            for index, item in enumerate(items if isinstance(items, list) else ()):
                if isinstance(item, dict) and item.get("api_key_env"):
                    yield f"{part}.{index}.api_key_env", item["api_key_env"]

    @property
    def _stores(self) -> Iterator[tuple[str, str]]:
        for section, part in self.parts.items():
            text = part.get(_STORE) if isinstance(part, dict) else None
            if isinstance(text, str) and (variable := _VARIABLE.fullmatch(text)):
                yield section, variable[1]


def parse(text: str) -> PolicyDocument:
    """Return the document in `text`; raises SettingsError with its first mistake."""
    if len(text) > _LONGEST:
        raise SettingsError(f"found {len(text)} characters; at most {_LONGEST} are allowed")
    try:
        parts = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SettingsError(f'not JSON: {error}; expected an object, as {{"retry": {{"attempts": 3}}}}') from None
    document = PolicyDocument(parts)
    try:
        document.over(Policy(), _checked)
    except Mistake as error:
        raise SettingsError(str(error)) from None
    return document


def _laid_over(base: Any, values: Any, kind: Any, place: str, open_store: OpenStore) -> Any:
    """Return `base`, or a new `kind` where there is none, with `values` in its fields."""
    if not isinstance(values, dict):
        raise Mistake(place, f"found {shown(values)}; expected an object of {', '.join(_names(kind))}")
    hints = get_type_hints(kind)
    said: dict[str, Any] = {}
    for name, value in values.items():
        at = f"{place}.{name}" if place else name
        if name not in _names(kind):
            raise Mistake(at, _unknown(kind, name))
        said[name] = _value(getattr(base, name, None), value, hints[name], at, open_store)
    try:
        return kind(**said) if base is None else replace(base, **said)
    except TypeError:
        needed = [one for one in _required(kind) if one not in said]
        raise Mistake(place, f"found no {', '.join(needed)}; it is required") from None
    except ValueError as error:
        raise Mistake(place, str(error)) from None


def _value(base: Any, value: Any, hint: Any, place: str, open_store: OpenStore) -> Any:
    """Return `value` as the annotation `hint` wants it."""
    options = _options(hint)
    if value is None and type(None) in options:
        return None
    if place.endswith(f".{_STORE}"):
        return open_store(value, place)
    for option in options:
        origin, inner = get_origin(option), get_args(option)
        if is_dataclass(option) and (isinstance(value, dict) or len(options) == 1 + (type(None) in options)):
            return _laid_over(base, value, option, place, open_store)
        if origin is tuple and isinstance(value, list) and is_dataclass(inner[0]):
            return tuple(_laid_over(None, one, inner[0], f"{place}.{i}", open_store) for i, one in enumerate(value))
        if origin in (Mapping, dict) and isinstance(value, dict):
            return {name: _value(None, one, inner[1], f"{place}.{name}", open_store) for name, one in value.items()}
    try:
        return _adapter(hint).validate_json(orjson.dumps(value), strict=True)
    except ValidationError:
        raise Mistake(place, f"found {shown(value)}; expected {_expected(hint)}") from None


@functools.cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _checked(text: Any, place: str) -> Any:
    """Return any store where `text` names one, or a variable that does; raises Mistake else."""
    if isinstance(text, str) and _VARIABLE.fullmatch(text):
        return Memory()
    if isinstance(text, str) and urlsplit(text).password:
        raise Mistake(place, "the URL holds a password; put the URL into a variable, and write ${NAME} here")
    if text == "off":
        raise Mistake(place, f"found 'off'; write null for {place.rpartition('.')[0]}")
    try:
        stores.parse(text)
    except SettingsError as error:
        raise Mistake(place, str(error)) from None
    except (ValueError, TypeError, AttributeError):
        raise Mistake(place, f"found {shown(text)}; expected ${{NAME}} or one of: {stores.EXPECTED}") from None
    return Memory()


def _names(kind: Any) -> list[str]:
    return [one.name for one in fields(kind) if f"{kind.__name__}.{one.name}" not in NOT_IN_JSON]


def _required(kind: Any) -> list[str]:
    return [one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING]


def _unknown(kind: Any, name: str) -> str:
    if why := NOT_IN_JSON.get(f"{kind.__name__}.{name}"):
        return f"cannot be said here: {why}"
    near = difflib.get_close_matches(name, _names(kind), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown; expected one of {', '.join(_names(kind))}{hint}"


def _options(hint: Any) -> Collection[Any]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _expected(hint: Any) -> str:
    """Return the words for a type."""
    words = {str: "text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
    found = []
    for option in _options(hint):
        if get_origin(option) is Callable:
            continue  # no text can say a function
        if get_origin(option) is Literal:
            found += [f'"{word}"' for word in get_args(option)]
        elif get_origin(option) in (tuple, frozenset, list):
            found.append(f"a list of {_expected(get_args(option)[0])}")
        elif is_dataclass(option):
            found.append(f"an object of {', '.join(_names(option))}")
        else:
            found.append(words.get(option, str(option)))
    return " or ".join(found)
