"""Requests that met every limit."""

import math

import numpy as np
import pandas as pd
import pytest
from tests.unit.analysis.test_measured import streams

from tailrace import analysis
from tailrace.analysis import intervals


def test_planted_share(make):
    """A request is good when it succeeded and kept every limit; the rate is by the schedule."""
    ttft, tpot = np.full(1_000, 100.0), np.full(1_000, 5.0)
    ttft[:50], tpot[40:80] = 400.0, 60.0
    outcome = np.where(np.arange(1_000) < 990, "miss", "error")
    row = analysis.goodput(streams(make, ttft, tpot, 9, outcome=outcome), {"ttft": 300, "tpot": 40}).iloc[0]
    assert (row["n"], row["good"], row["share"]) == (1_000, 910, 0.91)
    assert row["rps"] == pytest.approx(91.0)
    assert row["share_lo"] < 0.91 < row["share_hi"]


def test_each_limit_counts(make):
    """Negative control: without one of the limits, more requests are good."""
    records = streams(make, np.linspace(1, 100, 100), np.linspace(100, 1, 100), 3)
    goods = [int(analysis.goodput(records, limits).iloc[0]["good"]) for limits in ({"ttft": 60}, {"tpot": 60})]
    assert goods == [60, 60]
    assert analysis.goodput(records, {"ttft": 60, "tpot": 60}).iloc[0]["good"] == 20


def test_limits_of_tokens_are_for_streams(make):
    """With a limit of tokens plain requests do not count; with one of latency they do."""
    records = pd.concat([streams(make, np.full(100, 10.0), 1.0, 3), make(np.full(50, 9_000_000))], ignore_index=True)
    assert analysis.goodput(records, {"ttft": 20}).iloc[0][["n", "good"]].tolist() == [100, 100]
    assert analysis.goodput(records, {"latency": 20}).iloc[0][["n", "good"]].tolist() == [150, 100]


def test_tokens_that_were_not_counted(make):
    """A stream without a count of tokens does not keep a limit of TPOT; one of a single token keeps any."""
    limits = {"tpot": 1_000}
    assert analysis.goodput(streams(make, np.full(9, 10.0), 1.0, 5, out_tok=0), limits).iloc[0]["good"] == 0
    assert analysis.goodput(streams(make, np.full(9, 10.0), 1.0, 5, out_tok=1), limits).iloc[0]["good"] == 9


def test_no_requests():
    """Nothing recorded: n is 0 and everything else NaN."""
    row = analysis.goodput(analysis.empty(), {"ttft": 1}).iloc[0]
    assert (row["n"], row["good"]) == (0, 0)
    assert row[["share", "share_lo", "share_hi", "rps"]].isna().all()


def test_by_group(make):
    """Each group has its own row, sorted."""
    records = streams(make, np.where(np.arange(100) < 50, 10.0, 90.0), 1.0, 3, colour=["green"] * 50 + ["blue"] * 50)
    table = analysis.goodput(records, {"ttft": 20}, by=("colour",))
    assert table[["colour", "share"]].values.tolist() == [["blue", 0.0], ["green", 1.0]]


def covered(clustered, repeats=150, n=4_000):
    """Return how often the interval contains a true share of 0.9, and its mean width."""
    rng, held, width = np.random.default_rng(5), 0, 0.0
    for _ in range(repeats):
        size = 50 if clustered else 1  # bad requests come in runs of so many
        bad = np.repeat(rng.random(n // size) < 0.1, size)
        counts = np.bincount(np.arange(n) * intervals.BATCHES // n, weights=bad, minlength=intervals.BATCHES).astype(
            int
        )
        table = np.stack([n // intervals.BATCHES - counts, counts], axis=1)
        low, high = intervals.of_share(n - int(bad.sum()), n, float(intervals.effects(table)[0]))
        held, width = held + (low <= 0.9 <= high), width + (high - low) / repeats
    return held / repeats, width


def test_interval_survives_clusters():
    """It contains the truth in at least 90 of 100 cases, also when bad requests come in runs, and is wider then."""
    (independent, narrow), (clustered, wide) = covered(clustered=False), covered(clustered=True)
    assert min(independent, clustered) >= 0.9
    assert wide > 3 * narrow


def test_all_good_is_not_certain():
    """With no bad request among n, the interval still ends below 1, by Wilson's formula."""
    low, high = intervals.of_share(100, 100, 1.0)
    assert high == 1.0
    assert low == pytest.approx(100 / (100 + 1.96**2), abs=1e-4)
    assert math.isclose(intervals.of_share(0, 100, 1.0)[1], 1 - low)
