"""The types of a profile, walked by key: what stands at a place, and what is expected there, in plain words.

pydantic knows the types; its own words ("valid tuple", a pattern) would not tell a reader of YAML what to write.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

UNITS: Final = {
    "_s": ("seconds", "30"), "_ms": ("milliseconds", "500"), "_mb": ("megabytes", "512"), "_kb": ("kilobytes", "60"),
    "_usd": ("dollars", "5"), "_usd_per_hour": ("dollars per hour", "2.5"), "cpus": ("processors", "1.5"),
    "_rps": ("requests per second", "50"), "_bytes": ("bytes", "1048576"), "_tok": ("tokens", "4096"),
    "requests_per_min": ("requests per minute", "600"), "tokens_per_min": ("tokens per minute", "60000"),
}  # fmt: skip
"""Unit and example of a number by the end of its key; the longest end counts."""
Place = tuple[int | str, ...]


@dataclass(frozen=True)
class Schema:
    """The type at one place of a profile, with the limits of its value."""

    annotation: Any
    metadata: tuple[Any, ...] = ()
    description: str = ""
    """What is expected, where a type alone does not say it."""

    @classmethod
    def of(cls, annotation: Any) -> Schema:
        """Return the schema of an annotation."""
        if get_origin(annotation) is Annotated:
            inner, *extras = get_args(annotation)
            fields = [extra for extra in extras if isinstance(extra, FieldInfo)]
            limits = [limit for extra in fields for limit in extra.metadata]
            described = next((field.description for field in fields if field.description), "")
            within = cls.of(inner)
            return cls(within.annotation, (*within.metadata, *limits), described or within.description)
        return cls(annotation)

    @classmethod
    def of_field(cls, field: FieldInfo) -> Schema:
        """Return the schema of a field of a model."""
        within = cls.of(field.annotation)
        return cls(within.annotation, (*within.metadata, *field.metadata), field.description or within.description)

    @property
    def options(self) -> tuple[Schema, ...]:
        """The types that a value may have, without None."""
        if get_origin(self.annotation) not in (Union, types.UnionType):
            return (self,)
        inner = [Schema.of(one) for one in get_args(self.annotation) if one is not type(None)]
        return tuple(Schema(one.annotation, (*one.metadata, *self.metadata), one.description or self.description)
                     for one in inner)  # fmt: skip

    @property
    def model(self) -> type[BaseModel] | None:
        """The model whose keys stand here; None when it is no mapping of known keys."""
        for option in self.options:
            if isinstance(option.annotation, type) and issubclass(option.annotation, BaseModel):
                return option.annotation
        return None

    def within(self, part: int | str) -> Schema | None:
        """Return the schema of the key or item `part`; None when there is no such place."""
        for option in self.options:
            if (model := option.model) is not None:
                fields = fields_of(model)
                return Schema.of_field(fields[part]) if isinstance(part, str) and part in fields else None
            origin, inner = get_origin(option.annotation), get_args(option.annotation)
            if origin in (tuple, list) and isinstance(part, int):
                return Schema.of(inner[0])
            if origin in (dict, Mapping) and isinstance(part, str):
                return Schema.of(inner[1])
        return None

    def expected(self, place: Place) -> str:
        """Return what may be written at `place`, with unit and example."""
        return self.description or " or ".join(option._expected(place) for option in self.options)

    def _expected(self, place: Place) -> str:
        origin, inner = get_origin(self.annotation), get_args(self.annotation)
        if self.description:
            return self.description
        if origin is Literal:
            return "one of " + ", ".join(map(str, inner))
        if self.annotation is bool:
            return "true or false"
        if self.annotation in (int, float):
            return self._number(place)
        if origin in (tuple, list):
            least = "a list of at least one" if self._limit("min_length") else "a list"
            return f"{least}, in [ ], each {Schema.of(inner[0]).expected(place)}"
        if origin in (dict, Mapping):
            return f"a mapping of names, each to {Schema.of(inner[1]).expected(place)}"
        if (model := self.model) is not None:
            return f"a mapping of the keys {', '.join(fields_of(model))}"
        return "text" if self.annotation is str else "a value"

    def _number(self, place: Place) -> str:
        """Return the words for a number: whole or not, its unit, its bounds, and an example."""
        unit, example = unit_of(place)
        kind = "a whole number" if self.annotation is int else "a number"
        low = next((f" {word} {self._limit(name):g}" for name, word in (("ge", "from"), ("gt", "above"))
                    if self._limit(name) is not None), "")  # fmt: skip
        high = next((f" {word} {self._limit(name):g}" for name, word in (("le", "to"), ("lt", "below"))
                     if self._limit(name) is not None), "")  # fmt: skip
        return f"{kind}{f' of {unit}' if unit else ''}{low}{high}, without quotes or unit, as {self._example(example)}"

    def _example(self, example: str) -> str:
        """Return a number that is allowed here."""
        low = self._limit("ge") if self._limit("ge") is not None else self._limit("gt")
        high = self._limit("le") if self._limit("le") is not None else self._limit("lt")
        for candidate in (example, "20", "2", "0.5"):
            fits = candidate and (self.annotation is float or "." not in candidate)
            if fits and (low is None or float(candidate) > low) and (high is None or float(candidate) < high):
                return candidate
        return f"{low or 0:g}"

    def _limit(self, name: str) -> Any:
        return next((getattr(one, name) for one in self.metadata if getattr(one, name, None) is not None), None)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by the names that they have in YAML."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def unit_of(place: Place) -> tuple[str, str]:
    """Return unit and example of the number at `place`: by its key, or that of the mapping or list that it is in."""
    for part in reversed(place):
        for end in sorted(UNITS, key=len, reverse=True):
            if isinstance(part, str) and part.endswith(end):
                return UNITS[end]
    return "", ""


def find(model: type[BaseModel], place: Place) -> tuple[Place, Schema | None]:
    """Return `place` as keys of the YAML, and its schema; None for a place that no profile has.

    pydantic puts more into a place: the option of a union that it tried, and "[key]" after a key that is wrong.
    """
    keys: list[int | str] = []
    schema: Schema | None = Schema(model)
    for part in place:
        inner = schema.within(part) if schema is not None else None
        tried = schema is not None and schema.model is None and isinstance(part, str)
        if inner is None and (part == "[key]" or tried):
            continue
        keys.append(part)
        schema = inner
    return tuple(keys), schema


def values(document: Any, schema: Schema, place: Place = ()) -> Iterator[tuple[Place, Any, Schema]]:
    """Yield every value of a document that stands at a known place and is no mapping or list."""
    if isinstance(document, dict):
        items: Any = document.items()
    elif isinstance(document, (list, tuple)):
        items = enumerate(document)
    else:
        yield place, document, schema
        return
    for part, value in items:
        if (inner := schema.within(part)) is not None:
            yield from values(value, inner, (*place, part))


def keys(model: type[BaseModel], place: Place = ()) -> Iterator[Place]:
    """Yield the place of every key of a model and of the sections in it."""
    for name, field in fields_of(model).items():
        yield (*place, name)
        if (section := Schema.of_field(field).model) is not None:
            yield from keys(section, (*place, name))
