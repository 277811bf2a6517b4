"""Latency over rate."""

import math

import numpy as np
import pandas as pd
import pytest

from tailrace import analysis
from tailrace.analysis import capacity


def sweep(make, latencies):
    parts = [make(np.full(rate * 2, ms * 1_000), float(rate), phase=f"r{rate}") for rate, ms in latencies.items()]
    return pd.concat(parts, ignore_index=True)


def test_rates_of_a_sweep(make):
    """Each phase has its offered rate, in rising order."""
    table = capacity.rates(sweep(make, {400: 9, 100: 5, 200: 6}), by="phase")
    assert table["rate_rps"].tolist() == pytest.approx([100, 200, 400])
    assert table["p50_ms"].tolist() == [5, 6, 9]


def test_rates_of_a_ramp(make):
    """Slices of equal time of a rising schedule have rising rates, which add up to all requests."""
    at = 10**12 + (np.sqrt(np.arange(4_000)) * 1e9 / 5).astype("int64")
    table = capacity.rates(make(np.ones(4_000)).assign(intended_ns=at), slices=4)
    assert table["rate_rps"].is_monotonic_increasing
    assert (table["n"].sum(), len(table)) == (4_000, 4)


def test_knee(make):
    """The knee is the last rate before the first that is beyond the limit, even when a later one is within."""
    table = capacity.rates(sweep(make, {100: 5, 200: 6, 300: 50, 400: 7}), by="phase")
    assert capacity.knee(table, 20) == pytest.approx(200)
    assert capacity.knee(table, 100) == pytest.approx(400)
    assert math.isnan(capacity.knee(table, 1))


def test_failures_bound_the_knee(make):
    """A rate at which requests fail is beyond the knee, however quick the others are."""
    records = sweep(make, {100: 5, 200: 5})
    records.loc[(records["phase"] == "r200") & (records["seq"] % 9 == 0), "outcome"] = "error"
    assert capacity.knee(capacity.rates(records, by="phase"), 20) == pytest.approx(100)


def test_nothing():
    """No records, no rates."""
    assert capacity.rates(analysis.empty()).empty
