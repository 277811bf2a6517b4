"""The evidence of a run as frames: records and saved frames by name, and whether they may decide anything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow.parquet as pq

from tailrace import analysis
from tailrace.analysis import gaps
from tailrace.deploy.edge.samples import EDGE, EdgeRow
from tailrace.errors import RecordsError
from tailrace.host.machine import MACHINE, MachineRow
from tailrace.load.beside import SERVER, ServerRow
from tailrace.run import documents
from tailrace.run.folder import RunDir

EVERY: Final = "all"
LARGE: Final = 3_000_000
"""From this many records on, percentiles are computed from disk: in memory they would take about a gigabyte."""
MARKS: Final = ["t_ns", "until_ns", "label", "kind"]
SAMPLES: Final[Mapping[str, Sequence[str]]] = {
    MACHINE: MachineRow._fields,
    EDGE: EdgeRow._fields,
    SERVER: ServerRow._fields,
}
STATES: Final = "states"
"""The frame of the states that switches reached."""
SUBJECT: Final = "03_blue_green_switch"
PHASE: Final = "switch"
"""The phase of that step in which the switch succeeds; in others a release fails on purpose."""
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_PART: Final = re.compile(r"(part-[0-9a-f]{8})-\d+-\d+")
"""The name of a file of records: the load run, the shard, the number."""


def frame(run_dir: Path, step: str, name: str) -> pd.DataFrame:
    """Return the frame `name` as `step` names it; raise RecordsError when there is none.

    | name | frame |
    |---|---|
    | "records" | the requests that `step` recorded, or those of every step where it recorded none |
    | "all/records" | the requests of every step |
    | "gaps", "STEP/gaps" | the gaps between the tokens of these requests; empty where there are none |
    | "machine", "edge", "server" | what was sampled beside the loads of `step`; empty when nothing was |
    | "NAME" | a frame that `step` saved |
    | "STEP/NAME" | the same of another step; "STEP/marks" is empty when that step marked nothing |
    | "records:PHASE" | the requests of some phases, see `_matches` |
    | "runs" | the history of the newest runs |
    """
    name, _, phases = name.partition(":")
    if phases:
        rows = frame(run_dir, step, name)
        return rows[rows["phase"].isin([phase for phase in rows["phase"].unique() if _matches(phase, phases)])]
    other, _, name = name.rpartition("/")
    for part in (other or step, name):
        if not _NAME.fullmatch(part):
            raise RecordsError(f"{part!r} is not the name of a step or frame; expected letters, digits, - and _")
    if name == "runs" and not other:
        from tailrace.report import store  # it reads evidence itself

        return store.history(run_dir.parent)
    if name == "records":
        return _records(run_dir, other or _recorder(run_dir, step))
    if name == "gaps":
        return gaps.read(_folders(run_dir, step, f"{other}/records" if other else "records"))
    if name in SAMPLES:
        return _samples(run_dir, other or step, name)
    path = RunDir(run_dir).data(other or step, name)
    if name == "marks" and other and not path.exists():
        return pd.DataFrame(columns=MARKS)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        saved = ", ".join(sorted(p.stem for p in path.parent.glob("*.parquet"))) or "none"
        why = f"is damaged ({type(error).__name__})" if path.is_file() else "does not exist"
        raise RecordsError(f"{path.relative_to(run_dir)} {why}; saved: {saved}") from None


def invalid_reasons(run_dir: Path, step: str, name: str = "records") -> list[str]:
    """Return why the records `name` (as `frame` takes it) must not decide anything; empty when they may.

    A load run leaves its summary beside its records. Reported are the reasons of each summary that is invalid, and
    each file of records whose load run left no summary.
    """
    name, _, phases = name.partition(":")
    return [reason for one in _folders(run_dir, step, name) for reason in _invalid_reasons(one, phases)]


def _folders(run_dir: Path, step: str, name: str) -> list[Path]:
    """Return the folders that hold the records `name` (without a phase)."""
    recorder = name.rpartition("/")[0] or _recorder(run_dir, step)
    return RunDir(run_dir).recorded() if recorder == EVERY else [RunDir(run_dir).records(recorder)]


def _recorder(run_dir: Path, step: str) -> str:
    """Return the step whose records `step` means by "records": its own, or every step's when it has none."""
    return step if RunDir(run_dir).records(step).is_dir() else EVERY


def _invalid_reasons(records: Path, phases: str) -> list[str]:
    """Return the reasons of the load runs of one step, in these phases."""
    reasons, summarised = [], set()
    for path in sorted(records.glob("_part-*.json")):
        note = documents.read(path)
        phase = str((note.get("traffic") or {}).get("phase", ""))
        if "summary" not in note:
            continue
        summarised.add(path.stem[1:])
        if _matches(phase, phases):
            reasons += [f"{phase or records.name}: {reason}" for reason in note["summary"].get("reasons") or []]
    for part in sorted(records.glob("part-*.parquet")):
        load_run = _PART.fullmatch(part.stem)
        if load_run and load_run[1] not in summarised and any(_matches(phase, phases) for phase in _phases(part)):
            reasons.append(f"{part.name}: its load run left no summary, so requests may be missing")
    return reasons


def _matches(phase: str, phases: str) -> bool:
    """Whether `phases` includes `phase`: names or patterns between commas, "!…" all but these, "" all."""
    if phases.startswith("!"):
        return not _matches(phase, phases[1:])
    return not phases or any(fnmatchcase(phase, pattern) for pattern in phases.split(","))


def _phases(part: Path) -> set[str]:
    return set(analysis.read(part, ["phase"])["phase"])


@dataclass(frozen=True)
class Loader:
    """Loads the frames that the figures and tables of `step` draw from."""

    run_dir: Path
    step: str

    def __call__(self, name: str) -> pd.DataFrame:
        return frame(self.run_dir, self.step, name)

    def large(self, name: str, rows: int = LARGE) -> LargeRecords | None:
        """Return where the records `name` lie when there are at least `rows`, too many to load; else None."""
        name, _, phases = name.partition(":")
        if name.rpartition("/")[2] != "records":
            return None
        folders = [one for one in _folders(self.run_dir, self.step, name) if any(one.glob("part-*.parquet"))]
        parts = [part for one in folders for part in one.glob("part-*.parquet")]
        if sum(pq.read_metadata(part).num_rows for part in parts) < rows:
            return None
        every = set().union(*(_phases(part) for part in parts)) if phases else set()
        matching = sorted(phase for phase in every if _matches(phase, phases))
        return LargeRecords(folders, matching or ([phases] if phases else []))


@dataclass(frozen=True)
class LargeRecords:
    """Records that are too many to load: their folders, and the phases to take; no phases means all."""

    folders: list[Path]
    phases: list[str]


def states(run_dir: Path, step: str) -> pd.DataFrame:
    """Return the states that the switches of a step reached: t_ns, state, fact; empty when there was no switch."""
    path = RunDir(run_dir).data(step, STATES)
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=["t_ns", "state", "fact"])


def _samples(run_dir: Path, step: str, name: str) -> pd.DataFrame:
    parts = [pd.read_parquet(path) for path in RunDir(run_dir).samples(step, name)]
    if not parts:
        return pd.DataFrame(columns=list(SAMPLES[name]))
    return pd.concat(parts).sort_values("t_ns", kind="stable", ignore_index=True)


def subject(run_dir: Path) -> str:
    """Return the name of the records that represent a run in a comparison: the switch under load, else all."""
    step = _recorder(run_dir, SUBJECT)
    try:
        phases = _records(run_dir, step, ["phase"])["phase"]
    except RecordsError:
        return f"{step}/records"
    return f"{step}/records:{PHASE}" if (phases == PHASE).any() else f"{step}/records"


def subject_records(run_dir: Path, name: str = "") -> pd.DataFrame:
    """Return the records `name`, or those that represent the run; empty when it recorded none."""
    try:
        return frame(run_dir, EVERY, name or subject(run_dir))
    except RecordsError:
        return analysis.empty()


def _records(run_dir: Path, step: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    run = RunDir(run_dir)
    if step != EVERY and not run.records(step).is_dir():
        recorded = ", ".join(path.name for path in run.recorded()) or "none"
        raise RecordsError(f"records/{step} does not exist; steps that recorded requests: {recorded}")
    if step != EVERY:
        return analysis.read(run.records(step), columns)
    if not run.recorded():
        raise RecordsError("records/ is empty: no step of this run recorded a request")
    return analysis.read(run.recorded(), columns)
