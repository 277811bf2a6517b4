"""The circumstances of some requests that went wrong: when, between which states, what edge and machine did meanwhile.

Everything here is counted from samples that were taken while the load ran; nothing is concluded. `causes` does that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from tailrace.analysis import frames
from tailrace.deploy.edge.samples import EdgeRow
from tailrace.host.machine import MACHINE, MachineRow
from tailrace.load.beside import ServerRow
from tailrace.numbers import number

MARGIN_NS = 1_000_000_000
"""How far from a request a sample, or a state of the switch, may lie that tells of it."""
BUSY = 0.9
"""The share of the processors from which on the machine counts as busy."""
MADE_BY_EDGE = ("none_healthy", "overflowed", "connect_failed", "broken", "timed_out")
STATES = ["t_ns", "state", "fact"]


@dataclass(frozen=True)
class Limits:
    """The settings of the profile that an advice may name; empty or None where the profile has no such setting."""

    engine: str = ""
    cpus: float | None = None
    """`limits.cpus`, where the engine enforces it."""
    memory_mb: int | None = None
    drain_timeout_s: float | None = None


@dataclass(frozen=True)
class Samples:
    """What was sampled beside a load, each a frame that may be empty."""

    states: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=STATES))
    """Of the switches that went on: t_ns, state, fact."""
    machine: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MachineRow._fields)))
    edge: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(EdgeRow._fields)))
    server: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(ServerRow._fields)))


@dataclass(frozen=True)
class Circumstances:
    """`affected` are the rows of `records` that went wrong; times are `perf_counter_ns`."""

    records: pd.DataFrame
    affected: pd.DataFrame
    samples: Samples = Samples()
    limits: Limits = Limits()

    @cached_property
    def began_ns(self) -> int:
        return int(frames.sent_ns(self.affected).min())

    @cached_property
    def ended_ns(self) -> int:
        return int(frames.ended_ns(self.affected).max())

    @property
    def began_s(self) -> float:
        """Since the first request of the load."""
        return (self.began_ns - int(self.records["intended_ns"].min())) / 1e9

    @property
    def lasted_s(self) -> float:
        return (self.ended_ns - self.began_ns) / 1e9

    def classes(self) -> dict[str, int]:
        """Return how many requests failed in which way ("503", "timeout"), the most frequent first."""
        kinds = self.affected["error_type"].str.removeprefix("http_").replace("", "unknown")
        return {str(kind): int(n) for kind, n in kinds.value_counts().items()}

    # When

    def between(self) -> str:
        """Return the states of the switch around the affected requests, in words; "" when none was going on."""
        states = self.samples.states.sort_values("t_ns", kind="stable")
        load = (int(self.records["intended_ns"].min()), int(self.records["intended_ns"].max()) + MARGIN_NS)
        states = states[(states["t_ns"] >= load[0] - MARGIN_NS) & (states["t_ns"] <= load[1])]
        if states.empty:
            return ""
        before = states[states["t_ns"] <= self.began_ns]["state"].tolist()
        # An answer comes back a moment after what went wrong with it.
        sent_ns = int(frames.sent_ns(self.affected).max())
        after = states[states["t_ns"] >= sent_ns]["state"].tolist()
        if not before:
            return f"before {after[0]}" if len(after) == len(states) else f"from before {states['state'].iloc[0]} on"
        return f"between {before[-1]} and {after[0]}" if after else f"after {before[-1]}"

    @property
    def before_ready(self) -> bool:
        """Whether a new release was starting, and not ready yet, when the first of them went wrong."""
        reached = self.samples.states[self.samples.states["t_ns"] <= self.began_ns]["state"].tolist()
        return bool(reached) and reached[-1] in ("locked", "prepared", "started")

    # The edge

    @cached_property
    def _edge(self) -> pd.DataFrame:
        """Return how often each flag was raised meanwhile, by colour: the last sample less the last one before."""
        rows = self._until_after(self.samples.edge)
        earlier = rows[rows["t_ns"] <= self.began_ns].groupby("colour").last()
        later, first = rows.groupby("colour").last(), rows.groupby("colour").first()
        return (later - earlier.reindex(later.index).fillna(first)).clip(lower=0)

    def _until_after(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the samples up to the first one after the end, however late a busy machine took it."""
        rows = rows.sort_values("t_ns", kind="stable")
        after = rows.loc[rows["t_ns"] >= self.ended_ns, "t_ns"]
        return rows[rows["t_ns"] <= after.min()] if len(after) else rows

    @property
    def edge_known(self) -> bool:
        return not self._edge.empty

    def flagged(self, flag: str) -> int:
        """Return how often the edge raised `flag` (a column of EdgeRow) meanwhile, over both colours."""
        return int(self._edge[flag].sum()) if self.edge_known else 0

    def by_edge(self) -> int:
        """Return how many answers the edge itself made: it had nobody to send the request to, or lost the answer."""
        return sum(self.flagged(flag) for flag in MADE_BY_EDGE)

    def unhealthy(self) -> dict[str, float]:
        """Return for how many seconds the edge found the instance of a colour unhealthy after it had found it healthy.

        An instance that starts is unhealthy as well, and that is no news.
        """
        rows = self._until_after(self.samples.edge)
        found = {}
        for colour, own in rows.groupby("colour"):
            instance = (own["members"] > 0).astype(int).diff().fillna(0).abs().cumsum()
            was_healthy = own["healthy"].groupby(instance).cummax() > 0
            down = (
                was_healthy & (own["members"] > 0) & (own["healthy"] == 0) & (own["t_ns"] >= self.began_ns - MARGIN_NS)
            )
            if down.any():
                # From the first sample that found it so to the first one after that did not.
                began, last = own.loc[down, "t_ns"].min(), own.loc[down, "t_ns"].max()
                after = own.loc[own["t_ns"] > last, "t_ns"]
                found[str(colour)] = float((after.min() if len(after) else last) - began) / 1e9
        return found

    # The machine

    @cached_property
    def _machine(self) -> pd.DataFrame:
        """Return the intervals that overlap the time of the affected requests; `weight` is the overlap in seconds."""
        rows = self.samples.machine
        ended, began = rows["t_ns"].astype("int64"), rows["t_ns"].astype("int64") - (rows["span_s"].astype(float) * 1e9)
        overlap = ended.clip(upper=self.ended_ns) - began.clip(lower=self.began_ns)
        # A moment is looked at with the interval around it.
        touching = rows[(ended >= self.began_ns) & (began <= self.ended_ns)]
        return touching.assign(weight=(overlap.loc[touching.index] / 1e9).clip(lower=1e-3).astype(float))

    @property
    def _whole(self) -> pd.DataFrame:
        return self._machine[self._machine["subject"] == MACHINE]

    @property
    def machine_known(self) -> bool:
        return not self._whole.empty

    @property
    def cores(self) -> int:
        return int(self._whole["of_cores"].max()) if self.machine_known else 0

    def busy(self) -> float:
        """Return the share of the time in which (nearly) all processors were busy; NaN when it is not known."""
        rows = self._whole
        if rows.empty:
            return math.nan
        busy = rows["cores"] >= BUSY * rows["of_cores"]
        return float((busy * rows["weight"]).sum() / rows["weight"].sum())

    def mean(self, column: str, subject: str = MACHINE) -> float:
        """Return the mean of a column of MachineRow over the time; NaN when it is not known."""
        rows = self._machine[self._machine["subject"] == subject].dropna(subset=[column])
        return float((rows[column] * rows["weight"]).sum() / rows["weight"].sum()) if len(rows) else math.nan

    def groups(self) -> dict[str, float]:
        """Return the processors that each group used on average over the time, the busiest first."""
        whole_s = self._whole["weight"].sum()
        rows = self._machine[self._machine["subject"] != MACHINE]
        used = (rows["cores"] * rows["weight"]).groupby(rows["subject"]).sum() / (whole_s or math.nan)
        return {str(name): float(cores) for name, cores in used.sort_values(ascending=False).items()}

    def throttled(self) -> dict[str, float]:
        """Return the share of the time that each group was held back by its own processor limit, the worst first."""
        shares = {str(subject): self.mean("throttled", str(subject)) for subject in self._machine["subject"].unique()}
        return dict(sorted(((s, v) for s, v in shares.items() if v == v), key=lambda pair: -pair[1]))

    # The server

    def server_max(self, measure: str) -> float:
        """Return the largest value of a gauge of the server's own metrics meanwhile; NaN when it told none."""
        rows = self.samples.server
        inside = rows[
            (rows["measure"] == measure)
            & (rows["t_ns"] >= self.began_ns - MARGIN_NS)
            & (rows["t_ns"] <= self.ended_ns + MARGIN_NS)
        ]
        return float(inside["value"].max()) if len(inside) else math.nan


def listed(counts: Mapping[str, int] | Sequence[tuple[str, int]]) -> str:
    """Write counts as "122 × 503, 2 × timeout"."""
    pairs = counts.items() if isinstance(counts, Mapping) else counts
    return ", ".join(f"{n:,} × {name}" for name, n in pairs)


def seconds(value: float) -> str:
    return f"{number(value)} s"
