"""Rows of a benchmark with known answers."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tailrace.bench import COLUMNS, BenchPlan, load

PLAN = """
targets:
  a: {url: "http://127.0.0.1:1/v1", price_per_hour: 3.6}
  b: {url: "http://127.0.0.1:2/v1"}
concurrency: [1, 8]
input_tokens: [64, 512]
output_tokens: [32]
repeats: 2
goodput: {ttft_ms: 100, share: 0.9}
demand_rps: 25
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], BenchPlan]:
    """Return a function that reads a plan from its YAML."""

    def read(text: str) -> BenchPlan:
        path = tmp_path / "small.yaml"
        path.write_text(text)
        return load(path)

    return read


@pytest.fixture
def plan(write: Callable[[str], BenchPlan]) -> BenchPlan:
    return write(PLAN)


@pytest.fixture
def rows(plan: BenchPlan) -> pd.DataFrame:
    """Return a row per cell: `b` is twice as slow as `a`; beyond load 1 `b` is not good enough."""
    made = []
    for cell in plan.cells():
        slow = 2.0 if cell.target == "b" else 1.0
        noise = 1 + 0.001 * (cell.repeat + cell.level + cell.input_tokens / 64)
        made.append(dict.fromkeys(COLUMNS, float("nan")) | {
            "target": cell.target, "load": plan.load, "level": cell.level, "input_tokens": cell.input_tokens,
            "output_tokens": cell.output_tokens, "repeat": cell.repeat, "n": 100, "errors": 0, "narrow": True,
            "valid": True, "reasons": "", "ttft_p50_ms": 20.0 * slow * noise, "tpot_p50_ms": 5.0 * slow * noise,
            "latency_p50_ms": 200.0 * slow * noise, "tokens_per_s": 100.0 * cell.level / slow,
            "tokens_per_s_user": 200.0 / slow, "requests_per_s": 10.0 * cell.level / slow,
            "goodput_rps": 10.0 * cell.level / slow, "good_share": 0.5 if slow > 1 and cell.level > 1 else 1.0,
            "in_tok": float(cell.input_tokens), "out_tok": 32.0, "usd_per_million_tokens": 10.0 / cell.level,
            "load_run": "part-1",
        })  # fmt: skip
    return pd.DataFrame(made, columns=COLUMNS)
