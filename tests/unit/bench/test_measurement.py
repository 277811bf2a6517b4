"""A load run that is not one: its records grow by the second, on a clock of its own."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tailrace import analysis
from tailrace.bench import Cell, measurement
from tailrace.bench.plan import Measure
from tailrace.records import DEFAULTS, Record

CELL = Cell("a", 8.0, 64, 32, 1)
RULE = Measure(warmup_s=2, min_s=3, max_s=20, within=0.02, of="ttft")


@dataclass
class Run:
    """Sends 50 requests/s whose time to first token varies by the factor `spread`."""

    spread: float
    now_s: float = 100.0
    start_ns: int = int(100e9)
    prefix: str = "part-x"
    running: bool = True
    stopped_s: float = 0.0
    traffic: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(timeout_s=1.0))

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    @property
    def parts(self) -> list[Path]:
        return [Path(str(second)) for second in range(int(self.now_s - 100))]

    def records(self) -> pd.DataFrame:
        n = int((self.now_s - 100) * 50)
        rng = np.random.default_rng(1)
        ttft_us = (20_000 * rng.uniform(1, self.spread, n)).astype(np.int64) if n else np.empty(0, np.int64)
        text = dict.fromkeys(("run_id", "step", "phase", "colour", "release", "model", "error_type"), "")
        numbers = dict.fromkeys(
            ("shard", "seq", "generation", "status", "attempts", "send_lag_us", "backoff_us", "chunks", "in_tok",
             "out_tok", "cached_tok", "cost_microusd"), 0
        )  # fmt: skip
        intended_ns = self.start_ns + np.arange(n) * 20_000_000
        values = {**DEFAULTS, **text, **numbers, "stream": True, "outcome": "miss", "intended_ns": intended_ns}
        values |= {"service_us": ttft_us * 2, "ttfc_us": ttft_us}
        return pd.DataFrame({name: values[name] for name in Record._fields})

    def stop(self, grace_s: float) -> SimpleNamespace:
        self.stopped_s = self.now_s
        return SimpleNamespace(reasons=())

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *error: object) -> None: ...


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch):
    def measure(run: Run, rule: Measure = RULE) -> measurement.Measured:
        monkeypatch.setattr(measurement.time, "perf_counter_ns", lambda: int(run.now_s * 1e9))
        monkeypatch.setattr(analysis, "read", lambda parts: run.records())
        return measurement.measure(CELL, rule, run, run.sleep)

    return measure


def test_a_steady_cell_ends_when_its_interval_is_narrow(measured):
    """Right after the least time; the control spreads wider, and needs all of it."""
    steady, wild = Run(spread=1.2), Run(spread=50.0)
    assert measured(steady).narrow
    assert steady.stopped_s < 100 + 2 + 3 + 1.5
    assert not measured(wild).narrow
    assert wild.stopped_s >= 100 + 2 + 20


def test_the_warm_up_is_not_measured(measured):
    """Requests that were due in it are left out, and the window begins after it."""
    result = measured(Run(spread=1.2))
    assert result.records["intended_ns"].min() >= 102e9
    assert result.begin_ns == 102e9
    assert 3 <= result.window_s < 4.5


def test_a_cell_without_answers_is_measured_to_the_end(measured):
    """No interval is not a narrow one."""
    run = Run(spread=1.2)
    run.records = lambda: Run(1.2).records()  # type: ignore[method-assign]
    assert not measured(run).narrow
