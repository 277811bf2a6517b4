"""The evidence in a run's folder, read without trust: what is missing or damaged is None, and said so on the page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow.parquet as pq

from tailrace import analysis
from tailrace.errors import RecordsError

EVERY: Final = "all"
HISTORY: Final = ["id", "started_at", "profile", "verdict", "n", "p99_ms", "p99_lo_ms", "p99_hi_ms"]
LARGE: Final = 3_000_000
"""Records from which on percentiles are taken from disk: about a gigabyte, were they loaded."""
MARKS: Final = ["t_ns", "until_ns", "label", "kind"]
MEASURED: Final = "03_blue_green_switch"
PHASE: Final = "switch"
"""The part of that step that goes well; in others a release fails on purpose."""
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_FLOWN: Final = re.compile(r"(part-[0-9a-f]{8})-\d+-\d+")
"""What a flight calls its parts: its own name, shard, number."""


def frame(run_dir: Path, step: str, name: str) -> pd.DataFrame:
    """Return a stored frame: "records", a name that the step saved, or "<step>/<name>" of another step.

    "all/records" is the records of every step; so is "records" in a step that made none itself.
    "records:PHASE" is those of one phase ("records:rate *,plain" of several, "records:!rate *" of all others),
    "<step>/marks" is empty where that step marked nothing, "runs" the history of all runs. Raises RecordsError when it
    is not there.
    """
    name, _, phase = name.partition(":")
    if phase:
        whole = frame(run_dir, step, name)
        return whole[whole["phase"].isin([flown for flown in whole["phase"].unique() if _wanted(flown, phase)])]
    named, _, name = name.rpartition("/")
    for part in (named or step, name):
        if not _NAME.fullmatch(part):
            raise RecordsError(f"{part!r} is not the name of a step or frame; expected letters, digits, - and _")
    if name == "runs" and not named:
        return history(run_dir.parent)
    if name == "records":
        alone = named or (step if (run_dir / "records" / step).is_dir() else EVERY)
        return _records(run_dir, alone)
    path = run_dir / "data" / (named or step) / f"{name}.parquet"
    if name == "marks" and named and not path.exists():
        return pd.DataFrame(columns=MARKS)  # a step that marked nothing
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.parquet"))) or "none"
        why = f"is damaged ({type(error).__name__})" if path.is_file() else "does not exist"
        raise RecordsError(f"{path.relative_to(run_dir)} {why}; saved: {known}") from None


def doubts(run_dir: Path, step: str, name: str = "records") -> list[str]:
    """Return why the records `name` (as `frame` takes it) must not decide anything; nothing when they may.

    A flight of the load generator leaves its summary beside its records: here are the reasons of those that call
    themselves invalid, and a part whose flight left no summary is a doubt of its own.
    """
    name, _, phase = name.partition(":")
    return [reason for one in _folders(run_dir, step, name) for reason in _doubts(one, phase)]


def _folders(run_dir: Path, step: str, name: str) -> list[Path]:
    """Return where the records `name` (without a phase) lie."""
    folder, named = run_dir / "records", name.rpartition("/")[0]
    alone = named or (step if (folder / step).is_dir() else EVERY)
    return sorted(path for path in folder.glob("*") if path.is_dir()) if alone == EVERY else [folder / alone]


def _doubts(folder: Path, phase: str) -> list[str]:
    """Return the doubts of one step's flights; with `phase`, of those only that flew it."""
    found, known = [], set()
    for path in sorted(folder.glob("_part-*.json")):
        note = _json(path)
        flown = str((note.get("traffic") or {}).get("phase", ""))
        if "summary" not in note:
            continue
        known.add(path.stem[1:])
        if _wanted(flown, phase):
            found += [f"{flown or folder.name}: {reason}" for reason in note["summary"].get("reasons") or []]
    for part in sorted(folder.glob("part-*.parquet")):
        of = _FLOWN.fullmatch(part.stem)
        if of and of[1] not in known and any(_wanted(flown, phase) for flown in _phases(part)):
            found.append(f"{part.name}: its flight left no summary, so nobody knows what is missing")
    return found


def _wanted(flown: str, phase: str) -> bool:
    """Whether `phase` asks for `flown`: by names or patterns, between commas; "!" asks for all others, "" for all."""
    if phase.startswith("!"):
        return not _wanted(flown, phase[1:])
    return not phase or any(fnmatchcase(flown, one) for one in phase.split(","))


def _phases(part: Path) -> set[str]:
    return set(analysis.read(part, ["phase"])["phase"])


@dataclass(frozen=True)
class Loader:
    """What figures and tables of `step` load their frames with."""

    run_dir: Path
    step: str

    def __call__(self, name: str) -> pd.DataFrame:
        return frame(self.run_dir, self.step, name)

    def large(self, name: str, rows: int = LARGE) -> Large | None:
        """Return where the records `name` lie when they are at least `rows`: too many to be loaded for a table."""
        name, _, phase = name.partition(":")
        if name.rpartition("/")[2] != "records":
            return None
        folders = [folder for folder in _folders(self.run_dir, self.step, name) if any(folder.glob("part-*.parquet"))]
        files = [part for folder in folders for part in folder.glob("part-*.parquet")]
        if sum(pq.read_metadata(file).num_rows for file in files) < rows:
            return None
        flown = set().union(*(_phases(file) for file in files)) if phase else set()
        return Large(folders, sorted(one for one in flown if _wanted(one, phase)) or ([phase] if phase else []))


@dataclass(frozen=True)
class Large:
    """Records that are not to be loaded: their folders, and the phases that are asked for (all, when none)."""

    folders: list[Path]
    phases: list[str]


def loader(run_dir: Path, step: str) -> Loader:
    """Return what figures and tables of `step` load their frames with."""
    return Loader(run_dir, step)


def history(runs_dir: Path) -> pd.DataFrame:
    """Return a row per run, oldest first: id, started_at, profile, verdict, n, p99_ms, p99_lo_ms, p99_hi_ms."""
    folders = [path.parent for path in runs_dir.glob("*/run.json") if not path.parent.is_symlink()]
    rows = [_summed(folder) for folder in folders]
    return pd.DataFrame(rows, columns=HISTORY).sort_values(["started_at", "id"], ignore_index=True)


def subject(run_dir: Path) -> str:
    """Return the name of the records that stand for a run beside others: the good switch, else all that there are."""
    switched = (run_dir / "records" / MEASURED).is_dir()
    step = MEASURED if switched else EVERY
    try:
        phases = _records(run_dir, step, ["phase"])["phase"]
    except RecordsError:
        return f"{step}/records"
    return f"{step}/records:{PHASE}" if (phases == PHASE).any() else f"{step}/records"


def measured(run_dir: Path, name: str = "") -> pd.DataFrame:
    """Return the records that stand for a run, or those named; none when it recorded nothing."""
    try:
        return frame(run_dir, EVERY, name or subject(run_dir))
    except RecordsError:
        return analysis.empty()


def _summed(folder: Path) -> dict[str, Any]:
    said = run(folder)
    row = analysis.latency(measured(folder), by=(), percentiles=("p99",)).iloc[0]
    known = {name: str(said.get(name) or "") for name in ("started_at", "profile")}
    known["verdict"] = str(said.get("verdict") or "INCONCLUSIVE")
    return {"id": folder.name, **known, "n": int(row["n"])} | {name: row[name] for name in HISTORY[5:]}


def _records(run_dir: Path, step: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    folder = run_dir / "records"
    if step != EVERY and not (folder / step).is_dir():
        made = ", ".join(sorted(path.name for path in folder.glob("*") if path.is_dir())) or "none"
        raise RecordsError(f"records/{step} does not exist; steps that recorded requests: {made}")
    if step != EVERY:
        return analysis.read(folder / step, columns)
    every = sorted(path for path in folder.glob("*") if path.is_dir())
    if not every:
        raise RecordsError("records/ is empty: no step of this run recorded a request")
    return analysis.read(every, columns)


def clock_ns(run_dir: Path) -> int:
    """Return when the clock of the run's records began to count, in wall time; 0 when the run does not say."""
    clock = run(run_dir).get("clock")
    known = clock if isinstance(clock, dict) else {}
    return int(known.get("wall_ns") or 0) - int(known.get("perf_ns") or 0)


def run(run_dir: Path) -> dict[str, Any]:
    """Return run.json, empty when the run left none."""
    return _json(run_dir / "run.json")


def result(run_dir: Path, step: str) -> dict[str, Any]:
    """Return the result of `step`, empty when it left none."""
    return _json(run_dir / "results" / f"{step}.json")


def profile(run_dir: Path) -> dict[str, Any]:
    """Return the resolved profile, empty when the run left none."""
    return _json(run_dir / "profile.json")


def steps(run_dir: Path, known: Sequence[str] = ()) -> list[str]:
    """Return the steps of the run: those that run.json lists, then any others that left a result or a notebook."""
    left = {path.stem for pattern in ("results/*.json", "notebooks/*.ipynb") for path in run_dir.glob(pattern)}
    return [*known, *sorted(left - set(known))]


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
