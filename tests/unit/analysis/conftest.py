"""Records for tests: columns that are not set have plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tailrace import records
from tailrace.records import Record

DEFAULTS = {
    "run_id": "r", "shard": 0, "step": "s", "phase": "p", "colour": "blue", "release": "1", "generation": 1,
    "model": "m", "stream": False, "outcome": "miss", "error_type": "", "status": 200, "attempts": 1,
    "send_lag_us": 0, "ttfc_us": -1, "backoff_us": 0, "chunks": 0, "in_tok": 1, "out_tok": 1, "cached_tok": 0,
    "cost_microusd": 0, **records.DEFAULTS,
}  # fmt: skip


def build(service_us: Any, rate_rps: float = 100.0, **columns: Any) -> pd.DataFrame:
    n = len(service_us)
    seq = np.arange(n)
    intended = 10**12 + (seq * 1e9 / rate_rps).astype("int64")
    values = {**DEFAULTS, "seq": seq, "intended_ns": intended, "service_us": np.asarray(service_us), **columns}
    frame = pd.DataFrame({name: values[name] for name in Record._fields}, index=range(n))
    integers = [c for c, v in DEFAULTS.items() if type(v) is int] + ["seq", "intended_ns", "service_us"]
    return frame.astype(dict.fromkeys(integers, "int64"))


@pytest.fixture
def make() -> Callable[..., pd.DataFrame]:
    return build


@pytest.fixture(scope="module")
def make_once() -> Callable[..., pd.DataFrame]:
    return build
