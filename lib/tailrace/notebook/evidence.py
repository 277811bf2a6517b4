"""The evidence of one step in the folder of its run: frames, records, and the moments that figures mark."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from tailrace.checks.circumstances import STATES, Samples
from tailrace.deploy.rollout import State
from tailrace.host import files
from tailrace.report import evidence
from tailrace.run.folder import RunDir


@dataclass
class Evidence:
    """The frames and marks of the step `name` in `run`; everything is on disk when a call returns."""

    name: str
    run: RunDir
    _marks: list[tuple[int, int, str, str]] = field(default_factory=list, init=False)
    _states: list[tuple[int, str, str]] = field(default_factory=list, init=False)

    def save(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Keep a frame as `data/<step>/<name>.parquet`, and return it."""
        path = self.run.data(self.name, name)
        files.replace(path, frame.to_parquet(index=False))  # whole or not there, also on a disk that is full
        return frame

    def frame(self, name: str = "records") -> pd.DataFrame:
        """Return a frame of this run: "records", a saved name, or "<step>/<name>" of another step."""
        return evidence.frame(self.run.path, self.name, name)

    def records(self, phase: str = "") -> pd.DataFrame:
        """Return this step's records, of one phase or of all."""
        records = self.frame("records")
        return records[records["phase"] == phase] if phase else records

    def samples(self, records: str = "records") -> Samples:
        """Return what was sampled beside the loads of these records, and the states that the switches reached."""
        step = records.rpartition("/")[0] or self.name
        sampled = {name: self.frame(f"{step}/{name}") for name in evidence.SAMPLES}
        return Samples(evidence.states(self.run.path, step), **sampled)

    def reached(self, states: Iterable[State]) -> None:
        """Keep the states that a switch reached, each with its time and its fact."""
        self._states += [(t_ns, state, fact) for state, t_ns, fact in states]
        self.save(evidence.STATES, pd.DataFrame(self._states, columns=STATES))

    def invalid_reasons(self, name: str = "records") -> list[str]:
        """Return why these records must not decide anything, as the load runs that made them reported it."""
        return evidence.invalid_reasons(self.run.path, self.name, name)

    def mark(self, label: str, kind: str = "action", t_ns: int | None = None, until_ns: int | None = None) -> None:
        """Note a moment (now), or a stretch of time, for the figures: kind "state", "fault" or "action"."""
        begin_ns = time.perf_counter_ns() if t_ns is None else t_ns
        self._marks.append((begin_ns, until_ns or begin_ns, label, kind))
        self._save_marks()

    @contextmanager
    def during(self, label: str, kind: str = "fault", when: bool = True) -> Iterator[None]:
        """Note the time of the block as a stretch with this label; nothing when `when` is false."""
        begin_ns = time.perf_counter_ns()
        try:
            yield
        finally:
            if when:
                self.mark(label, kind, begin_ns, time.perf_counter_ns())
            else:
                self._save_marks()

    def _save_marks(self) -> None:
        self.save("marks", pd.DataFrame(self._marks, columns=evidence.MARKS).sort_values("t_ns"))
