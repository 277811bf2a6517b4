"""The plan of the runbook, `runbook/plan.yaml`: its notebooks in order."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tailrace.errors import ProfileError
from tailrace.profile import core_schema
from tailrace.profile.mistakes import listed, near


class PlannedStep(BaseModel):
    """One notebook of the plan; the step is named like the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    notebook: Annotated[Path, Field(strict=False)]
    """Relative to the project."""
    title: str = ""
    """Default: the notebook's first heading."""
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Hard limit; default: `step_timeout_s` of the profile."""
    always: bool = False
    """Whether the step runs even after another step failed."""
    optional: bool = False
    """Whether the step runs only when it is named."""

    @property
    def name(self) -> str:
        return self.notebook.stem


class Plan(BaseModel):
    """The ordered steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[tuple[PlannedStep, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [step.name for step in self.steps]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"the plan has the same step twice: {', '.join(sorted(twice))}")
        return self

    @property
    def default(self) -> Self:
        """The plan without its optional steps."""
        return self.model_copy(update={"steps": tuple(step for step in self.steps if not step.optional)})

    def only(self, names: Collection[str]) -> Self:
        """Return the plan with these steps only, in its order; raise ProfileError for an unknown name."""
        known = [step.name for step in self.steps]
        if unknown := [name for name in names if name not in known]:
            hint = near(unknown[0], known)
            raise ProfileError(f"runbook/plan.yaml: no step {unknown[0]!r}; steps: {', '.join(known)}{hint}")
        return self.model_copy(update={"steps": tuple(step for step in self.steps if step.name in names)})


def load(root: Path) -> Plan:
    """Return the plan of the project at `root`; raise ProfileError when it is invalid or lacks a notebook."""
    path = root / "runbook" / "plan.yaml"
    try:
        plan = Plan.model_validate(core_schema.load(core_schema.read(path)))
    except ValidationError as error:
        raise ProfileError(listed(_problems(path, error))) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if missing := [step for step in plan.steps if not (root / step.notebook).is_file()]:
        raise ProfileError(listed([f"{path}: steps: found {s.notebook}, but there is no such file" for s in missing]))
    return Plan(steps=tuple(_with_title(root, step) for step in plan.steps))


def _with_title(root: Path, step: PlannedStep) -> PlannedStep:
    """Return the step with a title: its own, or the first heading of its notebook."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        for cell in () if step.title else json.loads((root / step.notebook).read_bytes())["cells"]:
            if heading := re.match(r"# +(.+)", "".join(cell["source"])):
                return step.model_copy(update={"title": heading[1].strip()})
    return step


def _problems(path: Path, error: ValidationError) -> list[str]:
    return [
        f"{path}: {'.'.join(str(part) for part in detail['loc']) or '(top level)'}: "
        f"{'unknown key' if detail['type'] == 'extra_forbidden' else detail['msg']}"
        for detail in error.errors(include_url=False)
    ]
