"""A parameters cell is a schema: each line is `name: type = default  # description, unit`.

papermill only warns about an unknown name and never checks a type. So the annotations are read here, and the
parameters of all steps are checked before the first kernel starts.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from tailrace.errors import ProfileError
from tailrace.profile import Profile
from tailrace.runner.plan import Plan

INJECTED = ("profile", "run_dir")
"""The runner sets these two parameters, which every notebook has."""

TYPES = {"Literal": Literal, "bool": bool, "dict": dict, "float": float, "int": int, "list": list, "str": str}


class Override(NamedTuple):
    """`--param STEP.NAME=VALUE`."""

    step: str
    name: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Override:
        """Read `03_switch.rate_rps=50`; raise ProfileError when `text` has another form."""
        target, equals, value = text.partition("=")
        step, dot, name = target.rpartition(".")
        if not (equals and dot and step and name):
            raise ProfileError(
                f"--param {text}: expected STEP.NAME=VALUE, for example 03_blue_green_switch.rate_rps=50"
            )
        return cls(step, name, value)


@dataclass(frozen=True)
class Schema:
    """The parameters of one notebook: names, types, defaults and descriptions."""

    notebook: Path
    model: type[BaseModel]
    descriptions: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        return sorted(set(self.model.model_fields) - set(INJECTED))

    def problems(self, source: str, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield a sentence for each value that the schema does not allow; `source` names the origin of `values`."""
        for name in sorted(set(values) & set(INJECTED)):
            yield f"{source}.{name}: found {values[name]!r}; the runner sets {name} itself: remove it"
        try:
            self.model.model_validate(dict(values))
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                yield self._problem(source, detail["loc"], detail)

    def _problem(self, source: str, place: tuple[int | str, ...], detail: Mapping[str, Any]) -> str:
        key = ".".join(str(part) for part in place)
        if detail["type"] == "extra_forbidden":
            return f"{source}.{key}: unknown parameter; {self.notebook} has: {', '.join(self.names) or 'none'}"
        expected = self.model.model_fields[str(place[0])].annotation
        shown = expected.__name__ if isinstance(expected, type) else str(expected)
        return f"{source}.{key}: found {detail['input']!r}; expected {shown} ({detail['msg']})"


def read(notebook: Path) -> Schema:
    """Return the schema of a notebook's parameters cell; raise ProfileError when the cell is not a schema."""
    source = _cell(notebook)
    lines = source.splitlines()
    fields: dict[str, tuple[Any, Any]] = {}
    descriptions: dict[str, str] = {}
    for node in _parse(notebook, source):
        name, annotation, default = _declaration(notebook, node)
        fields[name] = (annotation, default)
        descriptions[name] = lines[(node.end_lineno or 1) - 1].partition("  # ")[2].strip()
    if missing := [name for name in INJECTED if name not in fields]:
        raise ProfileError(f"{notebook}: the parameters cell lacks {' and '.join(missing)}; the runner sets them")
    return Schema(notebook, _model(notebook, fields), descriptions)


def _cell(notebook: Path) -> str:
    """Return the source of the parameters cell."""
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"{notebook}: cannot be read as a notebook of format 4: {error}") from None
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ProfileError(f"{notebook}: found {len(tagged)} cells tagged `parameters`, expected one")
    return "".join(tagged[0]["source"])


def _parse(notebook: Path, source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError as error:
        raise ProfileError(f"{notebook}: the parameters cell is not Python: {error}") from None


def _declaration(notebook: Path, node: ast.stmt) -> tuple[str, Any, Any]:
    """Return name, type and default of one line `name: type = literal`."""
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
        raise ProfileError(
            f"{notebook}: parameters cell, line {node.lineno}: found {ast.unparse(node)!r}; "
            "expected `name: type = default  # description, unit`"
        )
    try:
        # An annotation can only use the names in TYPES; and the notebook's own code runs next, anyway.
        annotation = eval(ast.unparse(node.annotation), {"__builtins__": {}}, TYPES)  # noqa: S307
        return node.target.id, annotation, ast.literal_eval(node.value)
    except (NameError, TypeError, ValueError) as error:
        raise ProfileError(
            f"{notebook}: parameters cell, line {node.lineno}: {error}; expected a plain type "
            f"({', '.join(sorted(TYPES))}) and a literal: nothing may be derived in this cell"
        ) from None


def _model(notebook: Path, fields: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", strict=True, validate_default=True)
    model: type[BaseModel] = create_model("Parameters", __config__=config, **fields)  # type: ignore[call-overload]
    try:
        model()
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise ProfileError(
            f"{notebook}: the default of {detail['loc'][0]} does not fit its type: {detail['msg']}"
        ) from None
    return model


def check(
    plan: Plan, root: Path, profile: Profile, source: str, overrides: tuple[Override, ...] = ()
) -> dict[str, dict[str, Any]]:
    """Return the parameters of every step; raise ProfileError with a line per unknown name and wrong type.

    `source` names the profile in these lines.
    """
    schemas = {step.name: read(root / step.notebook) for step in plan.steps}
    known = ", ".join(schemas)
    problems = [
        f"{source}: steps.{name}: unknown step; the plan has: {known}" for name in profile.steps if name not in schemas
    ]
    problems += [
        f"--param {o.step}.{o.name}: unknown step; the plan has: {known}" for o in overrides if o.step not in schemas
    ]
    chosen: dict[str, dict[str, Any]] = {}
    for name, schema in schemas.items():
        overridden = {o.name: _value(schema, o) for o in overrides if o.step == name}
        problems += schema.problems(f"{source}: steps.{name}", profile.steps.get(name, {}))
        problems += schema.problems(f"--param {name}", overridden)
        chosen[name] = {**profile.steps.get(name, {}), **overridden}
    if problems:
        raise ProfileError("\n".join(problems))
    return chosen


def _value(schema: Schema, override: Override) -> Any:
    """Return the value of an override, read as YAML unless the parameter is a string."""
    field = schema.model.model_fields.get(override.name)
    return override.value if field is not None and field.annotation is str else yaml.safe_load(override.value)
