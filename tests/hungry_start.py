"""A switch to a release whose start takes every processor, while the old one, a Python server, is at work.

The old one needs most of a processor for its users. At the same priority it gets half of one while the new one starts,
falls behind, and answers the edge's health checks as late as all else: slow, not dead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from mixed_load import Doors, MixedLoad, Row
from tailrace.deploy import Counters, Deployment
from tailrace.deploy.edge import clusters
from tailrace.errors import DeployError
from tailrace.host import waiting
from tailrace.profile import Profile

SERVER = Path(__file__).parent / "integration" / "servers" / "polyglot.py"
BURNERS = 6


@dataclass(frozen=True)
class HungryStart:
    """What is done: a start of `burn_s` at the priority `start_nice`, `rate` requests per second of `work_ms` each."""

    start_nice: int = 10
    panic_percent: int = clusters.PANIC_PERCENT
    """With 0 the edge stops sending requests to an only instance that is late."""
    burn_s: float = 10.0
    rate: float = 200.0
    work_ms: float = 4.0
    stalled: bool = False
    """Whether the old one stands still until the edge has found it unhealthy: late for certain, on any machine."""
    before_s: float = 3.0
    """How long the load runs before the switch."""


HEAD = (
    "start_nice", "sent to it while late", "requests", "failed by the edge", "failed", "p50 before", "p99 before",
    "p50 during", "p99 during", "switch",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of the users' requests: before the switch, and from its begin to its end."""

    before: list[Row]
    during: list[Row]
    edge: Counters
    switched: bool
    switch_s: float

    @property
    def failed(self) -> list[Row]:
        return [row for row in (*self.before, *self.during) if row.outcome != "200"]

    def line(self, start: HungryStart) -> tuple[str, ...]:
        """Return a row of the table: the settings, what the edge failed, and p50 and p99 before and during."""
        panic = "yes" if start.panic_percent else "no"
        latency = (_percentile(rows, q) for rows in (self.before, self.during) for q in (0.5, 0.99))
        counts = (f"{len(self.before) + len(self.during):,}", f"{self.edge.failed}", f"{len(self.failed)}")
        return (f"{start.start_nice}", panic, *counts, *(f"{ms:.0f} ms" for ms in latency), f"{self.switch_s:.1f} s")


@contextmanager
def deployment(start: HungryStart, home: Path) -> Iterator[Deployment]:
    """Bring up the old release; everything is taken down at the end."""
    command = [sys.executable, str(SERVER), "--host", "{host}", "--port", "{port}", "--work-ms", str(start.work_ms)]
    rollout = {
        "start_timeout_s": 120, "drain_timeout_s": 120, "bake_s": 1, "start_nice": start.start_nice,
        "warmup": {"min_requests": 10, "max_requests": 20}, "gate": {"latency_floor_ms": 60_000},
    }  # fmt: skip
    profile = {"name": "hungry", "service": {"command": command}, "rollout": rollout}
    d = Deployment.open(Profile.model_validate(profile), home)
    with mock.patch.object(clusters, "PANIC_PERCENT", start.panic_percent):
        try:
            d.up(d.build(SERVER.parent))
            yield d
        finally:
            d.down()


def run(start: HungryStart, home: Path) -> Outcome:
    """Switch under the load, and return what its users got."""
    with deployment(start, home) as d:
        built, before, switched = d.build(SERVER.parent), d.counters(), False
        hungry = built.configured([*built.command, "--burn-s", str(start.burn_s), "--burners", str(BURNERS)])
        doors = Doors(d.url, rate=start.rate, timeout_s=120, kinds=("web/http",))
        with MixedLoad(doors) as load, ThreadPoolExecutor(1) as pool:
            time.sleep(start.before_s)
            began_ns = time.perf_counter_ns()
            if start.stalled:
                pool.submit(_stall, d)
            with suppress(DeployError):
                d.switch(hungry)
                switched = True
            switch_s = (time.perf_counter_ns() - began_ns) / 1e9
        edge = d.counters().since(before)
    rows = [[row for row in load.rows if (row.sent_ns >= began_ns) is during] for during in (False, True)]
    return Outcome(*rows, edge, switched, switch_s)


def _stall(d: Deployment) -> None:
    """Stop the old one until the edge has found it unhealthy, and a second longer."""
    old = d.serving
    assert old
    d.engine.freeze(old)
    try:
        waiting.until(lambda: not d.edge.healthy(old.colour, old.address), 60)
        time.sleep(1)
    finally:
        d.engine.thaw(old)


def _percentile(rows: list[Row], q: float) -> float:
    """Return a percentile of all requests, failed ones too, in ms."""
    took_ms = sorted(row.took_ms for row in rows)
    return took_ms[int(len(took_ms) * q)]
