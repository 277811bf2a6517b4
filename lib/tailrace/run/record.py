"""`run.json`: the summary of a run, from its first second on, and the machine that it ran on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tailrace.verdict import Verdict


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepOutcome(Model):
    """How one step of the plan ended."""

    name: str
    verdict: Verdict
    duration_s: float
    reason: str = ""
    """Set when the checks of the step do not explain the verdict: a dead kernel, a time limit, a skipped step."""
    could_not_run: bool = False
    """This machine lacks something that the step needs; the reason says what. It says nothing about the service."""


class RunCheck(Model):
    """A check of the run as a whole, which no step can make."""

    name: str
    ok: bool | None
    """None: not decided."""
    fact: str


class Environment(Model):
    """The machine and the package versions of a run."""

    python: str = Field(default_factory=platform.python_version)
    platform: str = Field(default_factory=platform.platform)
    cores: int = Field(default_factory=lambda: cores())
    packages: dict[str, str] = Field(default_factory=lambda: _packages())


class Clock(Model):
    """The same moment on two clocks; it converts the `t_ns` of events and records to wall time."""

    wall_ns: int = Field(default_factory=time.time_ns)
    perf_ns: int = Field(default_factory=time.perf_counter_ns)


class RunRecord(Model):
    """`run.json`. Until the run ends, `finished_at`, `verdict` and `exit_code` are null."""

    id: str
    profile: str
    engine: str
    kind: Literal["run", "exploratory"] = "run"
    """Exploratory: a notebook that somebody runs by hand, in Lab."""
    started_at: str = Field(default_factory=lambda: _now())
    finished_at: str | None = None
    duration_s: float | None = None
    verdict: Verdict | None = None
    exit_code: int | None = None
    """0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 INCONCLUSIVE because a step could not run, 128 + signal when interrupted."""
    reason: str = ""
    """Set when no step explains the verdict: "interrupted", a leak."""
    steps: tuple[StepOutcome, ...] = ()
    checks: tuple[RunCheck, ...] = ()
    environment: Environment = Field(default_factory=Environment)
    clock: Clock = Field(default_factory=Clock)

    def finished(self, verdict: Verdict, exit_code: int, **more: Any) -> Self:
        """Return this record with its end filled in; `more` are fields that are known only at the end."""
        duration_s = round((time.perf_counter_ns() - self.clock.perf_ns) / 1e9, 3)
        end = {"finished_at": _now(), "duration_s": duration_s, "verdict": verdict, "exit_code": exit_code}
        return self.model_copy(update=end | more)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def cores() -> int:
    """Return how many cores this process may use: in a container, often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _packages() -> dict[str, str]:
    """Return the installed versions of tailrace's requirements, without the development tools."""
    versions = {}
    for requirement in importlib.metadata.requires("tailrace") or []:
        if "extra == 'dev'" in requirement or 'extra == "dev"' in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(versions.items()))
