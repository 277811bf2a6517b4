"""One rate, held against objectives: of latency, of tokens, and of goodput."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tailrace import analysis
from tailrace.load.rate_point import judge
from tailrace.load.recorder import Recorder
from tailrace.load.summary import LoadFacts, ShardResult, summarise
from tailrace.objectives import Goodput, Objectives
from tailrace.records import Record

N = 500
PLAIN = Record("", 0, 0, "s", "p", "", "", 0, "m", True, "miss", "", 200, 1, 0, 0, 0, 0, 0, 0, 1, 11, 0, -1)


@pytest.fixture
def measured(tmp_path: Path):
    """Return a function that records a second of streams, 10 ms a token, and judges them by objectives."""

    def measure(objectives: Objectives, slow: int = 0, failed: int = 0, **columns):
        keeper = Recorder(tmp_path, "part-0123abcd-0")
        for n in range(N):
            ttft = 900_000 if n < slow else 100_000
            error = {"outcome": "error", "error_type": "cut_stream"} if n >= N - failed else {}
            times = {"ttfc_us": ttft, "last_token_us": ttft + 100_000, "service_us": ttft + 100_500}
            row = PLAIN._replace(seq=n, intended_ns=n * 2_000_000, **times)
            keeper.add(row._replace(**columns, **error), [10_000] * 10)
        keeper.close()
        files = sorted(tmp_path.glob("part-*.parquet"))
        facts = LoadFacts("open", 1, 0, N / 500, (ShardResult(0, N, N, 0, 0.1, 0.0, 0.0),))
        return judge(500.0, replace(summarise(files, facts), reasons=()), files, objectives), files

    return measure


def test_each_kind_is_judged(measured):
    """Percentiles of every measure, by their names on the command line."""
    objectives = Objectives({"p99": 300}, {"p95": 150}, {"p99": 20}, {"p99": 20}, error_rate=0.0)
    point, _ = measured(objectives)
    assert point.meets
    assert point.valid
    assert {name: round(value, 1) for name, value in point.latencies_ms.items()} == {
        "p99": 200.5, "ttft_p95": 100.0, "tpot_p99": 10.0, "itl_p99": 10.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("objectives", "reason"),
    [
        (Objectives(ttft_ms={"p95": 150}), "ttft_p95 900.0 ms is beyond 150 ms"),
        (Objectives(tpot_ms={"p99": 9}), "tpot_p99 10.0 ms is beyond 9 ms"),
        (Objectives(itl_ms={"p99": 9}), "itl_p99 10.0 ms is beyond 9 ms"),
        (Objectives(goodput=Goodput(0.95, ttft_ms=150)), "90.00% of requests are good, less than 95.00%"),
    ],
)
def test_what_is_not_met_is_named(measured, objectives, reason):
    """A tenth of the streams is slow: each objective that this breaks says so."""
    point, _ = measured(objectives, slow=N // 10)
    assert (point.meets, point.reason) == (False, reason)


def test_failures_are_never_good(measured):
    """A failed stream counts as +∞ in TTFT, and against goodput."""
    point, _ = measured(Objectives(ttft_ms={"p99": 1_000}, goodput=Goodput(0.9, ttft_ms=1_000)), failed=10)
    assert point.latencies_ms["ttft_p99"] == math.inf
    assert (point.good_share, point.goodput_rps) == (0.98, 490)


def test_goodput_of_a_point_is_that_of_the_analysis(measured):
    """The search and the tables count the same requests as good."""
    goodput = Goodput(0.9, latency_ms=5_000, ttft_ms=150, tpot_ms=20)
    point, files = measured(Objectives(goodput=goodput), slow=37, failed=3)
    row = analysis.goodput(analysis.read(files), goodput.limits_ms).iloc[0]
    assert point.good_share == row["share"] == 1 - 40 / N


def test_no_streams_is_not_valid(measured):
    """Objectives of tokens without a stream are not met, and the measurement decides nothing."""
    for objectives in (Objectives(ttft_ms={"p95": 1e6}), Objectives(goodput=Goodput(0.95, ttft_ms=1e6))):
        point, _ = measured(objectives, stream=False)
        assert not point.valid
        assert "0 values are too few" in point.reason
        assert "or streams" in point.reason


def test_too_few_for_a_share(measured):
    """A share of 99.9 % needs as many requests as that percentile does."""
    point, _ = measured(Objectives(goodput=Goodput(0.999, ttft_ms=1e6)))
    assert point.reason == "500 values are too few for goodput (needs 3,688): use a longer duration"
    assert np.isfinite(point.goodput_rps)
