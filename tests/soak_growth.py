"""What the processes of a deployment grow by: descriptors and private memory, sampled each second, must stay flat.

A process counts from its own start: an instance for as long as it lives, Envoy, its keeper and the simulator for the
whole time. Its growth is that of the floor under its samples over the second half of its life: a burst lifts the top,
only what is never given back lifts the floor. While a fault is under way, and for `SETTLE_S` after it, nothing counts:
requests that wait hold descriptors.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from soak_account import Line
from tailrace.host import pids, processes, supervised

LEAST_SAMPLES = 8
SETTLE_S = 3.0
FLOORS = 8
DESCRIPTORS, MEMORY_MB, SHARE = 16.0, 8.0, 0.10
"""A process may grow by so much in the second half of its life, or by this share of what it had."""
PARTS = {("Envoy", "memory_mb"): 28.0, ("service", "memory_mb"): 16.0, ("service", "descriptors"): 64.0}
"""The same for Envoy, which keeps the memory of its largest crowd (a hung instance has hundreds of requests waiting:
each of its lives ends at 38 to 41 MB, however long it was); and for an instance, which is young: with a switch a minute
it has not yet had all that its pools will hold, and Envoy keeps the connections that a crowd needed for an hour."""


class Sample(NamedTuple):
    """One process at one time; `started` tells it from another one with its number."""

    part: str
    pid: int
    started: str
    descriptors: int
    memory_mb: float
    """Private (anonymous) resident memory."""
    t_ns: int = 0


class Slope(NamedTuple):
    """How much a floor rose over the second half of a life, and from where."""

    growth: float
    level: float


@dataclass(frozen=True)
class Growth:
    """The samples of all processes, a list for each reading."""

    readings: Sequence[Sequence[Sample]]
    faults: Sequence[tuple[int, int]] = ()
    """When faults were under way (`perf_counter_ns`)."""

    def _counts(self, sample: Sample) -> bool:
        return not any(begun <= sample.t_ns <= ended + SETTLE_S * 1e9 for begun, ended in self.faults)

    def slopes(self, field: str) -> dict[tuple[str, int], Slope]:
        """Return the growth of each process that lived for long enough, by its part and number."""
        lives: dict[tuple[str, int, str], list[float]] = {}
        for sample in (sample for reading in self.readings for sample in reading):
            if self._counts(sample):
                lives.setdefault(sample[:3], []).append(float(getattr(sample, field)))
        return {key[:2]: slope(values) for key, values in lives.items() if len(values) >= LEAST_SAMPLES}

    @property
    def flat(self) -> bool:
        return all(held for *_, held in self.lines())

    def lines(self) -> Iterator[Line]:
        """Yield a row for each part, with the process that grew most."""
        for field, unit, least in (("descriptors", "", DESCRIPTORS), ("memory_mb", " MB", MEMORY_MB)):
            slopes = self.slopes(field)
            for part in sorted({sample.part for reading in self.readings for sample in reading}):
                own = [s for (of, _), s in slopes.items() if of == part]
                measure = f"{part}: {field.removesuffix('_mb')}, growth in the second half of its life"
                if not own:
                    yield measure, f"none lived for {LEAST_SAMPLES} samples", "a figure", False
                    continue
                allowed = PARTS.get((part, field), least)
                worst = max(own, key=lambda s: s.growth - max(allowed, SHARE * s.level))
                limit = max(allowed, SHARE * worst.level)
                value = f"{worst.growth:+.1f}{unit} from {worst.level:.0f}{unit}, the worst of {len(own)}"
                yield measure, value, f"≤ {limit:.0f}{unit}", worst.growth <= limit


def slope(values: Sequence[float]) -> Slope:
    """Return by how much the floors of the second half of `values` rise: by the median slope of all pairs of them."""
    half = np.array(values[len(values) // 2 :])
    floors = np.array([part.min() for part in np.array_split(half, min(FLOORS, max(2, len(half) // 5)))])
    rise = np.median([(floors[j] - floors[i]) / (j - i) for j in range(len(floors)) for i in range(j)])
    return Slope(float(rise * len(floors)), float(floors[0]))


def read(folder: Path, callers: Sequence[int] = ()) -> list[Sample]:
    """Return a sample of each process that runs for the deployment in `folder`.

    What the processes `callers` hold open is left out of Envoy's descriptors: a load generator that had many requests
    under way keeps its connections, and Envoy the other ends of them.
    """
    held = sum(sample.descriptors for pid in callers if (sample := sampled("caller", pid)))
    samples = [sample for part, pid in _running(folder / "processes") if (sample := sampled(part, pid))]
    return [s._replace(descriptors=s.descriptors - held) if s.part == "Envoy" else s for s in samples]


def _running(records: Path) -> Iterator[tuple[str, int]]:
    for process in processes.records(records):
        part = process.labels.get("part")
        if part == "instance":
            yield "supervisor", process.pid
            state = supervised.read(process)
            if state.accepted:  # until then it has no traffic, and what it takes for that is no growth
                yield "service", state.pid
        elif part == "edge":
            yield "Envoy's keeper", process.pid
            yield from (("Envoy", pid) for pid in pids.children(process.pid))
        else:
            yield "simulator", process.pid


def sampled(part: str, pid: int) -> Sample | None:
    """Return a sample of one process; None when it is gone."""
    with contextlib.suppress(OSError):
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (a name for each is enough)
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
        anonymous = next((line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")), None)
        if anonymous is not None:
            return Sample(
                part, pid, pids.started(pid) or "", descriptors, int(anonymous) / 1024, time.perf_counter_ns()
            )
    return None
