"""The table of percentiles."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailrace import analysis
from tailrace.percentiles import PERCENTILES, column


def test_closed_form(make):
    """Latencies of 1…10,000 µs have p50 = 5.000, p99 = 9.900 and p99.9 = 9.990 ms, whatever their order."""
    shuffled = np.random.default_rng(1).permutation(np.arange(1, 10_001))
    row = analysis.latency(make(shuffled)).iloc[0]
    assert row[["p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms"]].tolist() == [5, 9, 9.5, 9.9, 9.99, 10]
    assert (row["n"], row["errors"], row["phase"]) == (10_000, 0, "p")


def test_both_starts(make):
    """From intended the generator's lag counts, from sent it does not."""
    records = make(np.full(100, 5_000), send_lag_us=2_000)
    assert analysis.latency(records).iloc[0]["p50_ms"] == 7
    assert analysis.latency(records, start="sent").iloc[0]["p50_ms"] == 5


def test_too_few_is_nan(make):
    """One request below the least n the percentile is NaN, with it it is a number."""
    for name, least in {"p95": 72, "p99": 368, "p99.9": 3_688, "p99.99": 36_887}.items():
        assert analysis.needs(name) == least
        point = column(name)
        few, enough = (analysis.latency(make(np.ones(n, int)), percentiles=[name]) for n in (least - 1, least))
        assert math.isnan(few.iloc[0][point])
        assert enough.iloc[0][point] == 0.001


def test_no_rows():
    """Nothing recorded: n is 0 and everything else NaN, and by group there is no row at all."""
    row = analysis.latency(analysis.empty(), by=()).iloc[0]
    assert (row["n"], row["errors"]) == (0, 0)
    assert row.filter(like="_ms").isna().all()
    assert analysis.latency(analysis.empty()).empty


def test_failures_never_improve(make):
    """Quick failures leave the percentiles of successes alone and move the adjusted ones up."""
    good = make(np.arange(1, 10_001))
    bad = make(np.full(600, 1), outcome="error")
    mixed = pd.concat([good, bad], ignore_index=True)
    before, after = analysis.latency(good).iloc[0], analysis.latency(mixed).iloc[0]
    assert after["n"] == 10_000
    assert after["errors"] == 600
    assert after["p99_ms"] == before["p99_ms"]
    assert after["p90_adj_ms"] > after["p90_ms"]
    assert after["p95_adj_ms"] == math.inf


def test_would_notice_failures_in_the_distribution(make):
    """Negative control: had the failures been taken for successes, p50 would have improved."""
    good, bad = np.arange(1, 10_001), np.full(600, 1)
    naive = analysis.latency(make(np.concatenate([good, bad]))).iloc[0]
    assert naive["p50_ms"] < analysis.latency(make(good)).iloc[0]["p50_ms"]


def test_groups_are_apart(make):
    """Each colour × phase × outcome has its own row, sorted, and errors their own time until failure."""
    records = pd.concat(
        [make(np.full(80, 2_000), colour=c, phase=p, outcome=o)
         for c in ("green", "blue") for p in ("b", "a") for o in ("miss", "error")]
    )  # fmt: skip
    table = analysis.latency(records, by=("colour", "phase", "outcome"), percentiles=["p50"])
    assert table["colour"].tolist() == ["blue"] * 4 + ["green"] * 4
    assert table["outcome"].tolist() == ["error", "miss"] * 4
    assert table["n"].tolist() == [80] * 8
    assert table["errors"].tolist() == [80, 0] * 4


def test_only_failures(make):
    """A group of failures alone has no percentiles, and adjusted ones without end."""
    row = analysis.latency(make(np.full(100, 5), outcome="error")).iloc[0]
    assert (row["n"], row["errors"]) == (0, 100)
    assert math.isnan(row["p50_ms"])
    assert row["p50_adj_ms"] == math.inf


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=900), st.integers(0, 40))
def test_percentiles_rise(make, values, failures):
    """Percentiles rise with p, lie within their interval, never pass the maximum, and adjusted ones are no lower."""
    errors = make(np.full(failures, 1), outcome="error")
    row = analysis.latency(pd.concat([make(values), errors], ignore_index=True)).iloc[0]
    known = [n for n in PERCENTILES if len(values) >= analysis.needs(n)]
    points = [row[column(n)] for n in known]
    assert points == sorted(points)
    for name, point in zip(known, points, strict=True):
        assert row[column(name, "lo")] <= point <= row[column(name, "hi")] <= row["max_ms"]
        assert row[column(name, "adj")] >= point


def test_not_a_percentile(make):
    """A percentile that is none is refused by name."""
    with pytest.raises(ValueError, match="'p100' is not a percentile"):
        analysis.latency(make([1]), percentiles=["p100"])
