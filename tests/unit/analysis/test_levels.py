"""Apdex, goodput and the error budget."""

import math

import numpy as np
import pandas as pd
import pytest

from tailrace import analysis
from tailrace.analysis.levels import levels

LIMITS = {"apdex_ms": 100, "limit_ms": 300, "error_rate": 0.01}


def test_by_hand(make):
    """60 satisfied, 20 tolerating, 10 frustrated, 10 failed: Apdex 0.70; 80 within the limit; ten budgets spent."""
    records = pd.concat([make(np.full(60, 100_000)), make(np.full(20, 200_000)), make(np.full(10, 500_000)),
                         make(np.full(10, 1), outcome="error")])  # fmt: skip
    records["intended_ns"] = np.arange(100) * 10**7
    row = levels(records, **LIMITS).iloc[0]
    assert (row["n"], row["apdex"], row["within"]) == (100, 0.7, 0.8)
    assert row["within_rps"] == pytest.approx(80)
    assert row["budget_spent"] == pytest.approx(10)


def test_quick_failures_do_not_help(make):
    """A failure within a microsecond is not a satisfied user."""
    assert levels(make(np.full(10, 1), outcome="error"), **LIMITS).iloc[0]["apdex"] == 0


def test_groups_and_nothing(make):
    """Each group has its row; nothing recorded is NaN, never a perfect score."""
    records = pd.concat([make(np.full(9, 1), colour="blue"), make(np.full(9, 10**6), colour="green")])
    assert levels(records, by=("colour",), **LIMITS)["apdex"].tolist() == [1, 0]
    assert math.isnan(levels(analysis.empty(), **LIMITS).iloc[0]["apdex"])


def test_no_budget(make):
    """Where no failure is allowed one is infinitely too many, and none spends nothing."""
    limits = LIMITS | {"error_rate": 0.0}
    assert levels(make([1], outcome="error"), **limits).iloc[0]["budget_spent"] == math.inf
    assert levels(make([1]), **limits).iloc[0]["budget_spent"] == 0
