"""Percentiles per window."""

import numpy as np
import pandas as pd

from tailrace import analysis


def test_counts_and_gaps(make):
    """A window counts its successes, errors, hits and retries; what it has too few requests for is NaN."""
    records = pd.concat([
        make(np.arange(1, 101) * 1_000, rate_rps=100, attempts=2),
        make(np.full(5, 1), rate_rps=100, outcome="error"),
        make(np.full(7, 1_000), rate_rps=100, outcome="hit").assign(intended_ns=lambda f: f["intended_ns"] + 3 * 10**9),
    ])  # fmt: skip
    table = analysis.windows(records, 1.0)
    assert table["t_s"].tolist() == [0.0, 3.0]
    assert table[["n", "errors", "hits", "retries"]].to_numpy().tolist() == [[100, 5, 0, 100], [7, 0, 7, 0]]
    assert table["p50_ms"].tolist() == [50, 1]
    assert table["p95_ms"].iloc[0] == 95
    assert table[["p99_ms"]].isna().all().all()
    assert np.isnan(table["p95_ms"].iloc[1])


def test_by_group(make):
    """Groups have windows of their own, counted from the first request of all."""
    records = pd.concat([make(np.ones(150), colour="blue"), make(np.ones(150), colour="green")])
    table = analysis.windows(records, 0.5, by=("colour",))
    assert table["colour"].tolist() == ["blue"] * 3 + ["green"] * 3
    assert table["t_s"].tolist() == [0.0, 0.5, 1.0] * 2


def test_no_records():
    """No records, no windows."""
    assert analysis.windows(analysis.empty()).empty
