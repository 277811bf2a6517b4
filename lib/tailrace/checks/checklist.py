"""The production-readiness checklist: each line is decided by checks of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from tailrace.deploy.engines import Capability
from tailrace.errors import ProfileError
from tailrace.profile import core_schema, mistakes
from tailrace.verdict import FAIL, INCONCLUSIVE, PASS, Check, fold, ok_of


class Line(BaseModel):
    """One line: a claim, and the checks that prove it when they passed, by step and beginning of their name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: str
    needs: Capability | None = None
    """The capability of an engine that this line is about; without it the line is skipped."""
    evidence: Mapping[str, Sequence[str]]


def read(path: Path) -> list[Line]:
    """Return the lines of the checklist at `path`; raise ProfileError when it is not a checklist."""
    try:
        return TypeAdapter(list[Line]).validate_python(core_schema.load(core_schema.read(path)))
    except (OSError, ValueError, yaml.YAMLError) as error:  # a ValidationError is a ValueError
        raise ProfileError(f"{path}: is not a checklist: {mistakes.listed(str(error).splitlines())}") from None


def decide(
    lines: Sequence[Line], checks: Mapping[str, Sequence[Check]], lacks: Mapping[Capability, str] | None = None
) -> list[Check]:
    """Return a check per line, decided by the `checks` of each step.

    A line that needs a capability in `lacks` is skipped, with the reason that stands there.
    """
    return [
        Check.skip(line.line, f"not tested here: {lacks[line.needs]}")
        if lacks and line.needs and line.needs in lacks
        else _decide(line, checks)
        for line in lines
    ]


def ready(decided: Sequence[Check]) -> Check:
    """Return the check that sums up the lines; those that nothing on this service was tested for do not count."""
    lines = [check for check in decided if not check.skipped]
    states = [check.state for check in lines]
    short = "; ".join(check.name for check in lines if check.state != PASS)
    fact = f"{states.count(PASS)} of {len(states)} lines are proved" + (f"; not: {short}" if short else "")
    untested = [check.name for check in decided if check.skipped]
    more = f"; not tested here: {len(untested)} ({'; '.join(untested)})" if untested else ""
    return Check("ready for production", ok_of(fold(states)), fact + more)


def _decide(line: Line, by_step: Mapping[str, Sequence[Check]]) -> Check:
    checks, missing = [], []
    for step, beginnings in line.evidence.items():
        for beginning in beginnings:
            matching = [check for check in by_step.get(step, ()) if check.name.startswith(beginning)]
            checks += matching
            missing += [] if matching else [f"{step}: no check {beginning!r}"]
    if failed := [f"{check.name}: {check.fact}" for check in checks if check.state == FAIL]:
        return Check(line.line, False, "; ".join(failed))
    undecided = missing + [f"{check.name}: {check.fact}" for check in checks if check.state == INCONCLUSIVE]
    if undecided or not checks:
        return Check(line.line, None, "; ".join(undecided) or "no check is named")
    if all(check.skipped for check in checks):
        return Check.skip(line.line, f"not tested here: {'; '.join(dict.fromkeys(check.fact for check in checks))}")
    passed = [check.name for check in checks if check.state == PASS]
    untested = [f"{check.name} ({check.fact})" for check in checks if check.skipped]
    more = f". Not tested here: {'; '.join(untested)}" if untested else ""
    return Check(line.line, True, "; ".join(passed) + more)
