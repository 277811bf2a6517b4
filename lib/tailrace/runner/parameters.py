"""A parameters cell is a schema: each line is `name: type = default  # description, unit`.

papermill only warns about an unknown name and never checks a type. So the annotations are read here, and the
parameters of all steps are checked before the first kernel starts. A value has to be one that JSON can hold, because
papermill writes it into the notebook: with NaN or infinity in it, the notebook would be no JSON.
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from tailrace.errors import ProfileError
from tailrace.profile import Profile, core_schema, mistakes
from tailrace.profile.schema import Schema as Expected
from tailrace.runner import plan as plans
from tailrace.runner.plan import Plan

INJECTED = ("profile", "run_dir")
"""The runner sets these two parameters, which every notebook has."""

TYPES = {"Literal": Literal, "bool": bool, "dict": dict, "float": float, "int": int, "list": list, "str": str}
_BOOLS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CONFIG = ConfigDict(extra="forbid", strict=True, validate_default=True, protected_namespaces=())


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
        for name, value in values.items():
            if problem := _not_json(value):
                yield f"{source}.{name}: found {value!r}; {problem}"

    def typed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values in the types of their parameters (5 is 5.0 where a float is expected).

        A value that the schema does not allow is returned unchanged.
        """
        try:
            validated = self.model.model_validate(dict(values))
        except ValidationError:
            return dict(values)
        return {name: getattr(validated, name) for name in values}

    def _problem(self, source: str, place: tuple[int | str, ...], detail: Mapping[str, Any]) -> str:
        key = ".".join(str(part) for part in place)
        if detail["type"] == "extra_forbidden":
            known = f"{self.notebook} has: {', '.join(self.names) or 'none'}{mistakes.near(key, self.names)}"
            return f"{source}.{key}: unknown parameter; {known}"
        name = str(place[0])
        at: Expected | None = Expected.of(self.model.model_fields[name].annotation)
        for part in place[1:]:
            at = at and at.within(part)
        expected = at.expected(place) if at else "another value"
        meaning = f": {self.descriptions[name]}" if self.descriptions.get(name) else ""
        return f"{source}.{key}: found {detail['input']!r}; expected {expected}{meaning}"


def read(notebook: Path) -> Schema:
    """Return the schema of a notebook's parameters cell; raise ProfileError when the cell is not a schema."""
    source = _cell(notebook)
    fields: dict[str, tuple[Any, Any]] = {}
    descriptions: dict[str, str] = {}
    statements = _parse(notebook, source)
    comments = _comments(source)
    for node in statements:
        name, annotation, default = _declaration(notebook, node)
        if name in fields:
            raise ProfileError(f"{notebook}: parameters cell, line {node.lineno}: {name} is declared a second time")
        fields[name] = (annotation, default)
        descriptions[name] = comments.get(node.end_lineno or 0, "")
    if missing := [name for name in INJECTED if name not in fields]:
        raise ProfileError(f"{notebook}: the parameters cell lacks {' and '.join(missing)}; the runner sets them")
    return Schema(notebook, _model(notebook, fields), descriptions)


def _cell(notebook: Path) -> str:
    """Return the source of the parameters cell."""
    try:
        cells = json.loads(notebook.read_bytes())["cells"]
        tagged = [cell for cell in cells if "parameters" in ((cell.get("metadata") or {}).get("tags") or ())]
        sources = ["".join(cell["source"]) for cell in tagged]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProfileError(f"{notebook}: cannot be read as a notebook of format 4: {error}") from None
    if len(sources) != 1:
        raise ProfileError(f"{notebook}: found {len(sources)} cells tagged `parameters`, expected one")
    return sources[0]


def _parse(notebook: Path, source: str) -> list[ast.stmt]:
    """Return the statements of the cell, without strings that stand alone: they are comments."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise ProfileError(f"{notebook}: the parameters cell is not Python: {error}") from None
    return [node for node in body if not (isinstance(node, ast.Expr) and _is_text(node.value))]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _comments(source: str) -> dict[int, str]:
    """Return the comment on each line, read as Python reads it: a # within a string begins none."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("#").strip() for token in tokens if token.type == tokenize.COMMENT}


def _declaration(notebook: Path, node: ast.stmt) -> tuple[str, Any, Any]:
    """Return name, type and default of one line `name: type = literal`."""
    place = f"{notebook}: parameters cell, line {node.lineno}"
    if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None):
        raise ProfileError(
            f"{place}: found {ast.unparse(node)!r}; expected `name: type = default  # description, unit`"
        )
    name = node.target.id
    if name.startswith("_") or hasattr(BaseModel, name):
        raise ProfileError(f"{place}: a parameter cannot be named {name}: choose another name")
    try:
        # An annotation can only use the names in TYPES; and the notebook's own code runs next, anyway.
        annotation = eval(ast.unparse(node.annotation), {"__builtins__": {}}, TYPES)  # noqa: S307
        TypeAdapter(annotation).rebuild()  # raises where a name within quotes is no type
        default = ast.literal_eval(node.value)
    except Exception as error:  # of any kind: an annotation may be any expression
        fact = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ProfileError(
            f"{place}: {fact}; expected a plain type ({', '.join(sorted(TYPES))}) and a literal: "
            "nothing may be derived in this cell"
        ) from None
    if problem := _not_json(default):
        raise ProfileError(f"{place}: the default of {name} is {default!r}; {problem}")
    return name, annotation, default


def _model(notebook: Path, fields: Mapping[str, tuple[Any, Any]]) -> type[BaseModel]:
    model: type[BaseModel] = create_model("Parameters", __config__=_CONFIG, **fields)  # type: ignore[call-overload]
    try:
        model()
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise ProfileError(
            f"{notebook}: the default of {detail['loc'][0]} does not fit its type: {detail['msg']}"
        ) from None
    return model


def _not_json(value: Any) -> str:
    """Return what JSON can hold, when `value` is something else; "" otherwise."""
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    return "" if same else "expected a value that JSON can hold: finite numbers, text, lists, and keys that are text"


def check(
    plan: Plan, root: Path, profile: Profile, source: str, overrides: tuple[Override, ...] = ()
) -> dict[str, dict[str, Any]]:
    """Return the parameters of every step; raise ProfileError with a line per unknown name and wrong type.

    `source` names the profile in these lines.
    """
    schemas = {step.name: read(root / step.notebook) for step in plan.steps}
    known = ", ".join(schemas)
    problems = [
        f"{source}: steps.{name}: unknown step; the plan has: {known}{mistakes.near(name, list(schemas))}"
        for name in profile.steps
        if name not in schemas
    ]
    problems += [
        f"--param {o.step}.{o.name}: unknown step; the plan has: {known}" for o in overrides if o.step not in schemas
    ]
    chosen: dict[str, dict[str, Any]] = {}
    for name, schema in schemas.items():
        overridden = {o.name: _typed(schema, o) for o in overrides if o.step == name}
        problems += schema.problems(f"{source}: steps.{name}", profile.steps.get(name, {}))
        problems += schema.problems(f"--param {name}", overridden)
        chosen[name] = schema.typed({**profile.steps.get(name, {}), **overridden})
    if problems:
        raise ProfileError("\n".join(problems))
    return chosen


def check_profile(root: Path, profile: Profile) -> None:
    """Check the parameters in a profile, also where no step is about to run; raise ProfileError as `check` does."""
    if profile.steps and (root / "runbook" / "plan.yaml").is_file():
        check(plans.load(root), root, profile, f"profile {profile.name}")


def _typed(schema: Schema, override: Override) -> Any:
    """Return the value of an override: read as YAML 1.2, or as it stands where its type only allows the text itself.

    A value that fits neither way is returned as YAML reads it, for `Schema.problems` to refuse.
    """
    text, field = override.value, schema.model.model_fields.get(override.name)
    if field is not None and field.annotation is str:
        return text
    if field is not None and bool in (field.annotation, *get_args(field.annotation)) and text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    try:
        value = core_schema.load(text)
    except (yaml.YAMLError, ValueError) as error:
        fact = " ".join(str(error).split())
        raise ProfileError(f"--param {override.step}.{override.name}: {text!r} is not YAML: {fact}") from None
    for candidate in (value, text):
        if not any(schema.problems("", {override.name: candidate})):
            return schema.typed({override.name: candidate})[override.name]
    return value
