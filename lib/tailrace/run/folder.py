"""The folder of one run, `runs/<id>/`, and the folder of all runs: every path, and who creates it.

run.json  events.jsonl  profile.json  report.html
notebooks/<step>.ipynb      as papermill executed them; beside each the log of its kernel
results/<step>.json         checks, facts, figures and tables of a step
records/<step>/part-*       one row per request
records/<step>/<name>-*     what was sampled beside a load: machine, edge, server
data/<step>/<name>.parquet  every other frame that a step saved

Other rooms take these paths from `RunDir` and spell none themselves; a test walks the source for it.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ValidationError

from tailrace.errors import ProfileError, RecordsError
from tailrace.host import earlier_state, files
from tailrace.run.record import RunRecord, StepOutcome
from tailrace.verdict import EXIT_CODES, Verdict

if TYPE_CHECKING:
    from tailrace.profile import Profile

STATE = ".tailrace"
RUNS = "runs"
LATEST = "latest"
EVIDENCE = ("notebooks", "results", "records", "data")


@dataclass(frozen=True)
class RunDir:
    """The paths of one run."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the run at `path`, with `runs/latest` resolved; raise RecordsError when it holds no run.json."""
        if not cls(path).record.is_file():
            raise RecordsError(f"{path} is not the folder of a run: it has no run.json; runs lie in {RUNS}/")
        return cls(path.resolve())

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def profile(self) -> Path:
        return self.path / "profile.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        """What the list of all runs needs of this one; it can be made anew at any time."""
        return self.path / "summary.json"

    @property
    def reserve(self) -> Path:
        """A file that is removed at the end, so that the end can be written on a disk that is full."""
        return self.path / ".reserve"

    def notebook(self, step: str) -> Path:
        return self.path / "notebooks" / f"{step}.ipynb"

    def kernel_log(self, step: str) -> Path:
        return self.path / "notebooks" / f"{step}.log"

    def result(self, step: str) -> Path:
        return self.path / "results" / f"{step}.json"

    def records(self, step: str) -> Path:
        return self.path / "records" / step

    def data(self, step: str, name: str) -> Path:
        return self.path / "data" / step / f"{name}.parquet"

    def samples(self, step: str, name: str) -> list[Path]:
        """Return the files of what was sampled beside the loads of a step: "machine", "edge" or "server"."""
        return sorted(self.records(step).glob(f"{name}-*.parquet"))

    def recorded(self) -> list[Path]:
        """Return the folders of records, one for each step that recorded requests."""
        return sorted(path for path in (self.path / "records").glob("*") if path.is_dir())

    def results(self) -> list[Path]:
        """Return the results that steps have written so far, by name of the step."""
        return sorted((self.path / "results").glob("*.json"))

    def steps(self) -> list[str]:
        """Return the steps that left a result or a notebook."""
        return sorted({path.stem for path in (*self.results(), *(self.path / "notebooks").glob("*.ipynb"))})

    def read(self) -> RunRecord:
        """Return `run.json`; raise RecordsError when it is missing, damaged or of another schema."""
        try:
            return RunRecord.model_validate_json(self.record.read_bytes())
        except (OSError, ValidationError) as error:
            raise RecordsError(f"{self.record} cannot be used: {error}") from None

    def write(self, record: RunRecord) -> None:
        files.replace(self.record, record.model_dump_json(indent=2) + "\n")


def find_project(start: Path) -> Path:
    """Return the project around `start`: the nearest folder, here or above, with a `runbook/plan.yaml`.

    Where an earlier version left its state open to other users, it is closed.
    """
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / "runbook" / "plan.yaml").is_file():
            for made in (folder / STATE, folder / RUNS):
                earlier_state.tighten(made)
            return folder
    raise ProfileError(f"{here}: found no runbook/plan.yaml here or above; run tailrace inside a tailrace project")


def all_runs(runs_dir: Path) -> list[RunDir]:
    """Return the runs in `runs_dir` that have a run.json, by name: oldest first."""
    folders = sorted(path.parent for path in runs_dir.glob("*/run.json"))
    return [RunDir(folder) for folder in folders if not folder.is_symlink()]


def latest(root: Path) -> RunDir:
    """Return the run that `runs/latest` names; it may not exist."""
    return RunDir(root / RUNS / LATEST)


def index(runs_dir: Path) -> Path:
    """Return the path of the page that lists all runs."""
    return runs_dir / "index.html"


def create_run(root: Path, profile: Profile, kind: Literal["run", "exploratory"] = "run") -> RunDir:
    """Create the folder of a new run under `root/runs`, with its `run.json` and `profile.json`, or nothing at all.

    Raises OSError where there is no place for it, or where `runs/latest` is not ours to replace.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    run = RunDir(root.resolve() / RUNS / f"{stamp}-{profile.name}-{secrets.token_hex(2)}")
    if kind == "run":
        _require_link(run.path.parent / LATEST)
    try:
        for folder in EVIDENCE:
            files.make_folder(run.path / folder)
        if kind == "run":
            files.reserve(run.reserve)
        files.replace(run.profile, profile.model_dump_json(indent=2, by_alias=True) + "\n")
        run.write(RunRecord(id=run.id, profile=profile.name, engine=profile.engine, kind=kind))
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def _require_link(link: Path) -> None:
    """Raise OSError when something other than a link stands at `link`: a folder or a file there is not ours."""
    if link.exists() and not link.is_symlink():
        number = errno.EISDIR if link.is_dir() else errno.EEXIST
        kind = "a folder" if link.is_dir() else "a file"
        raise OSError(number, f"is {kind} here, and not the link to the latest run", str(link))


def close(run: RunDir, verdict: Verdict, steps: Sequence[str]) -> RunRecord:
    """End an exploratory run: write the verdict of its steps into `run.json`."""
    record = run.read()
    done = record.finished(verdict, EXIT_CODES[verdict])
    outcomes = tuple(StepOutcome(name=name, verdict=verdict, duration_s=done.duration_s or 0.0) for name in steps)
    done = done.model_copy(update={"steps": outcomes})
    run.write(done)
    return done


def link_evidence(run: RunDir, source: RunDir) -> None:
    """Hard-link the evidence of the run `source` into `run`, as far as it exists; files of `run` itself stay."""
    for name in EVIDENCE:
        if (source.path / name).is_dir():
            shutil.copytree(source.path / name, run.path / name, copy_function=_link_missing, dirs_exist_ok=True)


def link_records(run: RunDir, source: RunDir, step: str, prefixes: Sequence[str]) -> None:
    """Hard-link the records of `step` in `source` whose names begin with one of `prefixes` into `run`."""
    files.make_folder(run.records(step))
    for path in source.records(step).glob("*"):
        if any(path.name.lstrip("_").removeprefix("itl-").startswith(prefix) for prefix in prefixes):
            _link_missing(str(path), str(run.records(step) / path.name))


def _link_missing(source: str, target: str) -> None:
    if not Path(target).exists():
        os.link(source, target)


def begin_run(root: Path, profile: Profile) -> RunDir:
    """Create the folder of a new run, and point `runs/latest` at it; raise OSError, and leave nothing, if it cannot."""
    run = create_run(root, profile)
    try:
        point_latest(run)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def point_latest(run: RunDir) -> Path:
    """Point the link `runs/latest` at this run, in one rename, and return the link; raises OSError."""
    link = run.path.parent / LATEST
    _require_link(link)
    fresh = link.with_name(f".{LATEST}-{run.id}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(run.id)
    try:
        fresh.replace(link)
    finally:
        fresh.unlink(missing_ok=True)
    return link
