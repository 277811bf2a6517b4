"""The folder of one run, `runs/<id>/`: where its evidence lies, and `run.json`, which sums it up.

run.json  events.jsonl  profile.json  report.html
notebooks/<step>.ipynb      as papermill executed them
results/<step>.json         checks, facts, figures and tables of a step
records/<step>/*.parquet    one row per request
data/<step>/<name>.parquet  every other frame that a step saved
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tailrace.errors import ProfileError, RecordsError
from tailrace.profile import Profile

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]

EXIT_CODES: dict[Verdict, int] = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}

RUNS = "runs"
LATEST = "latest"


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepOutcome(Model):
    """How one step of the plan ended."""

    name: str
    verdict: Verdict
    duration_s: float
    reason: str = ""
    """Why, when the checks of the step do not say it: a dead kernel, a time limit, a step that was not reached."""


class RunCheck(Model):
    """A check of the run as a whole, which no step can make."""

    name: str
    ok: bool | None
    """None: not decided."""
    fact: str


class Environment(Model):
    """The machine and the versions that a run was made with."""

    python: str = Field(default_factory=platform.python_version)
    platform: str = Field(default_factory=platform.platform)
    cores: int = Field(default_factory=lambda: _cores())
    packages: dict[str, str] = Field(default_factory=lambda: _packages())


class Clock(Model):
    """The same moment on two clocks, so that `t_ns` of events and records can be placed in time."""

    wall_ns: int = Field(default_factory=time.time_ns)
    perf_ns: int = Field(default_factory=time.perf_counter_ns)


class RunRecord(Model):
    """`run.json`. While the run is under way, `finished_at`, `verdict` and `exit_code` are null."""

    id: str
    profile: str
    engine: str
    kind: Literal["run", "exploratory"] = "run"
    """Exploratory: a notebook that was run by hand, in Lab."""
    started_at: str = Field(default_factory=lambda: _now())
    finished_at: str | None = None
    duration_s: float | None = None
    verdict: Verdict | None = None
    exit_code: int | None = None
    reason: str = ""
    """Why, when no step says it: "interrupted", a leak."""
    steps: tuple[StepOutcome, ...] = ()
    checks: tuple[RunCheck, ...] = ()
    environment: Environment = Field(default_factory=Environment)
    clock: Clock = Field(default_factory=Clock)

    def finished(self, verdict: Verdict, exit_code: int, **more: Any) -> Self:
        """Return this record with its end filled in; `more` are other fields that are known only now."""
        duration_s = round((time.perf_counter_ns() - self.clock.perf_ns) / 1e9, 3)
        end = {"finished_at": _now(), "duration_s": duration_s, "verdict": verdict, "exit_code": exit_code}
        return self.model_copy(update=end | more)


@dataclass(frozen=True)
class RunDir:
    """The paths of one run."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the run at `path` (`runs/latest` is resolved); RecordsError when there is none."""
        if not (path / "run.json").is_file():
            raise RecordsError(f"{path} is not the folder of a run: it has no run.json; runs lie in {RUNS}/")
        return cls(path.resolve())

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def notebooks(self) -> Path:
        return self.path / "notebooks"

    @property
    def profile(self) -> Path:
        return self.path / "profile.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def notebook(self, step: str) -> Path:
        return self.notebooks / f"{step}.ipynb"

    def result(self, step: str) -> Path:
        return self.path / "results" / f"{step}.json"

    def records(self, step: str) -> Path:
        return self.path / "records" / step

    def data(self, step: str, name: str) -> Path:
        return self.path / "data" / step / f"{name}.parquet"

    def read(self) -> RunRecord:
        """Return what `run.json` says; RecordsError when it is missing, damaged or of another schema."""
        try:
            return RunRecord.model_validate_json((self.path / "run.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise RecordsError(f"{self.path / 'run.json'} cannot be used: {error}") from None

    def write(self, record: RunRecord) -> None:
        write_atomically(self.path / "run.json", record.model_dump_json(indent=2) + "\n")


def find_project(start: Path) -> Path:
    """Return the project around `start`: the nearest folder, here or above, with a `runbook/plan.yaml`."""
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / "runbook" / "plan.yaml").is_file():
            return folder
    raise ProfileError(f"{here}: found no runbook/plan.yaml here or above; expected the folder of a tailrace project")


def create_run(root: Path, profile: Profile, kind: Literal["run", "exploratory"] = "run") -> RunDir:
    """Make the folder of a new run under `root/runs`, with its `run.json` and `profile.json`."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    run = RunDir(root.resolve() / RUNS / f"{stamp}-{profile.name}-{secrets.token_hex(2)}")
    for folder in ("notebooks", "results", "records", "data"):
        (run.path / folder).mkdir(parents=True)
    write_atomically(run.profile, profile.model_dump_json(indent=2, by_alias=True) + "\n")
    run.write(RunRecord(id=run.id, profile=profile.name, engine=profile.engine, kind=kind))
    return run


def close(run: RunDir, verdict: Verdict, steps: Sequence[str]) -> RunRecord:
    """End an exploratory run: write the verdict of its steps into `run.json`."""
    record = run.read()
    done = record.finished(verdict, EXIT_CODES[verdict])
    outcomes = tuple(StepOutcome(name=name, verdict=verdict, duration_s=done.duration_s or 0.0) for name in steps)
    done = done.model_copy(update={"steps": outcomes})
    run.write(done)
    return done


def take_over(run: RunDir, other: Path) -> None:
    """Link the evidence of another run into this one: records, frames, results, notebooks. Nothing when it has none."""
    for name in ("records", "data", "results", "notebooks"):
        if (other / name).is_dir():
            shutil.copytree(other / name, run.path / name, copy_function=_linked, dirs_exist_ok=True)


def _linked(source: str, target: str) -> None:
    if not Path(target).exists():  # what this run has made itself stays
        os.link(source, target)


def point_latest(run: RunDir) -> Path:
    """Make `runs/latest` name this run, in one rename, and return the link."""
    link = run.path.parent / LATEST
    fresh = link.with_name(f".{LATEST}-{run.id}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(run.id)
    fresh.replace(link)
    return link


def write_atomically(path: Path, text: str) -> None:
    """Replace the content of `path`: a reader sees the old text or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _cores() -> int:
    """Cores that this process may use: in a container that is often fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _packages() -> dict[str, str]:
    """Versions of what tailrace asks for, as installed here; what is not installed is left out."""
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
