"""The production-readiness checklist: each line decided by checks that this run has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tailrace.checks import Check
from tailrace.errors import ProfileError


class Line(BaseModel):
    """One line: what is claimed, and the checks that have to have passed, by step and beginning of their name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: str
    engine: str = ""
    """Only for this engine; empty: for all."""
    evidence: Mapping[str, Sequence[str]]


def read(path: Path) -> list[Line]:
    """Return the lines of the checklist at `path`; ProfileError when it is not one."""
    try:
        return TypeAdapter(list[Line]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise ProfileError(f"{path}: is not a checklist: {error}") from None


def results(run: Path) -> dict[str, list[Check]]:
    """Return the checks of each step of the run at `run`."""
    found = {}
    for path in sorted((run / "results").glob("*.json")):
        made = orjson.loads(path.read_bytes())["checks"]
        found[path.stem] = [Check(c["name"], c["ok"], c["fact"], c["state"] == "SKIPPED") for c in made]
    return found


def decide(lines: Sequence[Line], made: Mapping[str, Sequence[Check]], engine: str) -> pd.DataFrame:
    """Return a row per line: line, verdict, evidence. Lines of another engine are left out."""
    rows = [(line.line, *_decided(line, made)) for line in lines if line.engine in ("", engine)]
    return pd.DataFrame(rows, columns=["line", "verdict", "evidence"])


def _decided(line: Line, made: Mapping[str, Sequence[Check]]) -> tuple[str, str]:
    checks, missing = [], []
    for step, beginnings in line.evidence.items():
        for beginning in beginnings:
            found = [check for check in made.get(step, ()) if check.name.startswith(beginning)]
            checks += found
            missing += [] if found else [f"{step}: no check {beginning!r}"]
    if failed := [f"{check.name}: {check.fact}" for check in checks if check.state == "FAIL"]:
        return "FAIL", "; ".join(failed)
    undecided = missing + [f"{check.name}: {check.fact}" for check in checks if check.state == "INCONCLUSIVE"]
    if undecided:
        return "INCONCLUSIVE", "; ".join(undecided)
    passed = [check for check in checks if check.state == "PASS"]
    if not passed:
        return "INCONCLUSIVE", "; ".join(f"{check.name} was left out: {check.fact}" for check in checks)
    return "PASS", f"{len(passed)} checks: " + "; ".join(check.name for check in passed)
