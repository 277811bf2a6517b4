"""The arguments of a call that are plain JSON, as nearly all are: written out once, and sent as they were written.

The SDK compares every argument with the type that it has for it: to write out dates, files and models, and to call
some fields by their name on the wire. That is 0.2 ms per call, a quarter of all that it does, and changes nothing of
plain JSON unless a field is renamed. So plain JSON goes through the SDK's own `create` with that one step left out.
"""

from __future__ import annotations

import functools
import inspect
import marshal
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType
from typing import Any, Final, get_args

import orjson
from openai import NotGiven, Omit
from openai._utils import PropertyInfo, async_maybe_transform, maybe_transform
from typing_extensions import get_type_hints, is_typeddict

_PLAIN_JSON: Final = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)


def plain(arguments: Mapping[str, Any]) -> bytes | None:
    """Return `arguments` as JSON, or None when they hold what JSON does not, and only the SDK knows how to send."""
    if type(arguments.get("timeout")) is tuple:
        return None  # (connect, read, write, pool), which a list is not
    try:
        text = orjson.dumps(arguments, option=_PLAIN_JSON)
        marshal.dumps(dict(arguments), 2)  # knows Python's own types alone; orjson takes enums and UUIDs as well
    except (TypeError, ValueError):
        return None
    if b"null" in text and orjson.loads(text) != arguments:
        return None  # NaN, which would be read back as None
    return text


def lean(create: Callable[..., Any]) -> Callable[..., Any]:
    """Return `create` (a bound method of an SDK's resource) for plain JSON; as it is, when it is not the SDK's own."""
    function: Any = create.__func__ if type(create) is MethodType else None  # a proxy would have one, too
    while from_sdk(function) and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not from_sdk(function):
        return create
    made, needed = _without_comparing(function)
    method = MethodType(made, create.__self__)  # type: ignore[attr-defined]

    @functools.wraps(create)
    def leaner(**arguments: Any) -> Any:
        return method(**arguments) if needed <= arguments.keys() else create(**arguments)  # which tells what is missing

    return leaner


def from_sdk(function: Any) -> bool:
    """Whether this is a function of the SDK itself; what wraps one only looks like it."""
    return type(function) is FunctionType and str(function.__globals__.get("__name__")).startswith("openai.")


@functools.lru_cache(maxsize=32)
def _without_comparing(function: FunctionType) -> tuple[FunctionType, frozenset[str]]:
    """Return the same code with other names for the step, and the arguments that it cannot do without."""
    instead = {"maybe_transform": _given, "async_maybe_transform": _agiven}
    known = {**function.__globals__, **{name: made for name, made in instead.items() if name in function.__globals__}}
    made = FunctionType(function.__code__, known, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    parameters = inspect.signature(made).parameters.values()
    return made, frozenset(one.name for one in parameters if one.default is one.empty and one.name != "self")


def _given(data: Mapping[str, object], kind: Any) -> object:
    return maybe_transform(data, kind) if renames(kind) else _without_omitted(data)


async def _agiven(data: Mapping[str, object], kind: Any) -> object:
    return await async_maybe_transform(data, kind) if renames(kind) else _without_omitted(data)


def _without_omitted(data: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in data.items() if not isinstance(value, Omit | NotGiven)}


@functools.lru_cache(maxsize=32)
def renames(kind: Any) -> bool:
    """Whether some field, anywhere in the type `kind`, has another name on the wire."""
    waiting, seen = [kind], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, PropertyInfo) and part.alias is not None:
            return True
        if id(part) in seen:
            continue
        seen.add(id(part))
        waiting.extend(get_type_hints(part, include_extras=True).values() if is_typeddict(part) else get_args(part))
    return False
