"""A soak: one deployment of our service under a steady load, with a switch at one pace and a fault at another.

Half of the load repeats questions that are cached, the other half needs the provider each time; a fifth are streams.
What became of it is a `soak_account.Account`; what the processes grew by, `soak_growth.Growth`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

import soak_faults
import soak_growth
from soak_account import Account, Injected
from tailrace import load, profile
from tailrace.deploy import Deployment, Release
from tailrace.errors import TailraceError
from tailrace.host.sampling import Sampler
from tailrace.testbed import candidates
from tailrace.testbed.stack import Stack

ROOT = Path(__file__).parents[1]
ROLLOUT = {"bake_s": 3.0, "settle_s": 0.5, "drain_timeout_s": 15.0, "start_timeout_s": 60.0, "ready_timeout_s": 60.0}
REST_S = 5.0
"""After each switch and fault nothing is done for so long; the load goes on."""
IN_FLIGHT_S = 45.0
COLUMNS = ["intended_ns", "send_lag_us", "service_us", "outcome", "error_type", "status", "colour", "release"]


@dataclass(frozen=True)
class Soak:
    """How long, under which load, and how often what is done; `kinds` of faults are taken in turn."""

    minutes: float = 30.0
    rate: float = 200.0
    switch_every_s: float = 60.0
    fault_every_s: float = 120.0
    kinds: tuple[str, ...] = tuple(soak_faults.KINDS)

    @property
    def plan(self) -> list[tuple[float, str]]:
        """When is done what, in seconds from the start: "switch", or the kind of a fault."""
        end_s = self.minutes * 60
        switches = [(at, "switch") for at in _times(self.switch_every_s / 3, self.switch_every_s, end_s)]
        faults = _times(self.fault_every_s * 5 / 12, self.fault_every_s, end_s)  # half-way between two switches
        return sorted([*switches, *((at, self.kinds[n % len(self.kinds)]) for n, at in enumerate(faults))])


@dataclass
class Bed:
    """The deployment under the load, and what the operator has done to it; `release` is the one that is to serve."""

    stack: Stack
    release: Release
    switches: int = 0
    injected: list[Injected] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What could not be done."""

    @property
    def deployment(self) -> Deployment:
        return self.stack.deployment

    def switch(self, at: dict[str, Callable[[], None]] | None = None) -> None:
        """Switch to a release of the same code that nobody had; `at` is what is done when a state is reached."""
        self.switches += 1
        release = self.release.configured(SOAK=str(self.switches))
        candidate = candidates.Candidate(release, self.stack.environment(), on=at or {})
        outcome = candidates.deploy(self.stack, candidate)
        if outcome.result != "switched":
            raise RuntimeError(f"switch {self.switches}: {outcome.result}: {outcome.why}")
        self.release = release


@contextmanager
def bed(home: Path) -> Iterator[Bed]:
    """Bring up the deployment of the profile `local` below `home`; it is taken down at the end."""
    local = profile.load("local", ROOT)
    # The gate looks for failures alone: the speed of this machine is not the question.
    gate = local.rollout.gate.model_copy(update={"latency_floor_ms": 5000.0})
    rollout = local.rollout.model_copy(update={**ROLLOUT, "gate": gate})
    named = local.model_copy(update={"name": "soak", "rollout": rollout, "slo": type(local.slo)()})
    stack = Stack(named, ROOT, Deployment.open(named, home))
    try:
        release = stack.build()
        stack.up(release)
        yield Bed(stack, release)
    finally:
        stack.deployment.down()


def run(soak: Soak, bed: Bed, out: Path) -> tuple[Account, soak_growth.Growth]:
    """Carry out the plan under the load; return the account of every request, and the growth of every process."""
    traffics = [
        bed.stack.traffic(load.arrivals.constant(soak.rate / 2, 3 * soak.minutes * 60 + 600), phase, **mix)
        for phase, mix in (("cached", {"repeat_share": 1.0, "pool": 100}), ("fresh", {"temperature": 1.0}))
    ]
    began_ns, folder = time.perf_counter_ns(), bed.deployment.folder
    runs = [
        load.prepare(replace(one, workload=replace(one.workload, stream_share=0.2)), f"{bed.stack.url}/v1", out,
                     options=bed.stack.sender_options)
        for one in traffics
    ]  # fmt: skip
    callers = [process.child.pid for one in runs for process in one._processes]
    with runs[0], runs[1], Sampler(lambda: soak_growth.read(folder, callers), 1.0) as sampler:
        _operate(soak, bed)
        summaries = [one.stop(IN_FLIGHT_S) for one in runs]
    rows = pd.concat([pd.read_parquet(part, columns=COLUMNS) for one in runs for part in one.parts])
    entries = [entry for entry in bed.deployment.journal.entries() if entry.t_ns >= began_ns]
    spans = [(fault.begun_ns, fault.ended_ns) for fault in bed.injected]
    return Account(rows, entries, bed.injected, summaries, bed.switches, bed.problems), soak_growth.Growth(
        sampler.samples, spans
    )


def _operate(soak: Soak, bed: Bed) -> None:
    """Do what the plan says when it is due, or after what was done before; then let the load go on for a while."""
    began = time.monotonic()
    for at_s, what in soak.plan:
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        since = time.monotonic()
        try:
            bed.switch() if what == "switch" else bed.injected.append(soak_faults.inject(what, bed))
        except (TailraceError, RuntimeError) as error:  # red, and the rest of the soak is still worth its time
            bed.problems.append(f"{what}: {error}")
            with suppress(TailraceError):
                bed.deployment.abort()
        print(f"{since - began:7.1f} s  {what}, for {time.monotonic() - since:.1f} s", file=sys.stderr, flush=True)
        time.sleep(REST_S)
    time.sleep(max(0.0, began + soak.minutes * 60 - time.monotonic()))


def _times(first_s: float, every_s: float, end_s: float) -> list[float]:
    return [at for n in range(int(end_s / every_s) + 1) if (at := first_s + n * every_s) < end_s]
