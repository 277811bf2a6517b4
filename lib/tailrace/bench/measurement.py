"""The measurement of one cell: warm up, measure until the interval is narrow enough, let the last answers come."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from tailrace import analysis
from tailrace.bench.plan import BenchPlan, Cell, Measure
from tailrace.load import LoadRun, Traffic, Workload, arrivals
from tailrace.load.lengths import fixed
from tailrace.percentiles import column

POLL_S = 0.25
PART_S = 1.0
"""Records are on disk this often, so that the rule of the interval can read them."""


@dataclass(frozen=True)
class Measured:
    """The records of one cell without those of its warm-up, and the window in which they were sent."""

    cell: Cell
    records: pd.DataFrame
    begin_ns: int
    end_ns: int
    narrow: bool
    """Whether the interval was narrow enough before the time was over."""
    load_run: str
    """The prefix of the files that hold the records."""
    reasons: tuple[str, ...]
    """Why the measurement is not valid."""

    @property
    def window_s(self) -> float:
        return max((self.end_ns - self.begin_ns) / 1e9, 1e-9)


def traffic(plan: BenchPlan, cell: Cell, model: str) -> Traffic:
    """Return the load of `cell`: streams with prompts of its own, so that no earlier cell has filled a cache."""
    duration_s = plan.measure.warmup_s + plan.measure.max_s
    seed = zlib.crc32(f"{plan.seed} {cell.key}".encode())
    when = (
        arrivals.users(int(cell.level), duration_s)
        if plan.concurrency
        else arrivals.poisson(cell.level, duration_s, seed)
    )
    requests = Workload(
        model=model,
        stream_share=1.0,
        seed=seed,
        prompt_tokens=fixed(cell.input_tokens),
        max_tokens=fixed(cell.output_tokens),
    )
    return Traffic(when, requests, timeout_s=plan.timeout_s, phase=cell.key, part_s=PART_S)


def measure(cell: Cell, rule: Measure, load_run: LoadRun, sleep: Callable[[float], None] = time.sleep) -> Measured:
    """Run the prepared `load_run` for `cell` until the rule is met; in-flight requests are awaited, not cut."""
    with load_run:
        begin_ns = load_run.start_ns + int(rule.warmup_s * 1e9)
        narrow = _until_narrow(rule, load_run, begin_ns, sleep)
        end_ns = min(time.perf_counter_ns(), begin_ns + int(rule.max_s * 1e9))
        summary = load_run.stop(grace_s=load_run.traffic.timeout_s)
    records = _measured(load_run, begin_ns)
    return Measured(cell, records, begin_ns, end_ns, narrow, load_run.prefix, summary.reasons)


def _until_narrow(rule: Measure, load_run: LoadRun, begin_ns: int, sleep: Callable[[float], None]) -> bool:
    """Wait until the interval is narrow enough, at least `min_s` and at most `max_s` after the warm-up."""
    parts = 0
    while load_run.running and time.perf_counter_ns() < begin_ns + int(rule.max_s * 1e9):
        sleep(POLL_S)
        if time.perf_counter_ns() >= begin_ns + int(rule.min_s * 1e9) and len(load_run.parts) > parts:
            parts = len(load_run.parts)
            if width(_measured(load_run, begin_ns), rule) <= rule.within:
                return True
    return False


def width(records: pd.DataFrame, rule: Measure) -> float:
    """Return half the interval of the rule's percentile over its value; +∞ where there are too few requests."""
    if records.empty:
        return math.inf
    row = analysis.latency(records, by=(), start="sent", percentiles=[rule.percentile], measure=rule.of).iloc[0]
    value, low, high = (float(row[column(rule.percentile, kind)]) for kind in ("", "lo", "hi"))
    return (high - low) / 2 / value if value > 0 else math.inf


def _measured(load_run: LoadRun, begin_ns: int) -> pd.DataFrame:
    records = analysis.read(load_run.parts)
    return records[records["intended_ns"] >= begin_ns]
