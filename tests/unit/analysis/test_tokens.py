"""Tokens: counts, rates, and how far they are from the plan."""

import math

import numpy as np
import pandas as pd
import pytest
from tests.unit.analysis.test_measured import streams

from tailrace import analysis
from tailrace.analysis.tokens import deviating


def test_planted_rates(make):
    """100 requests in 2 s with 50 tokens each: 2,500 tokens/s for all; 20 ms a token: 50 tokens/s for a user."""
    records = streams(make, np.full(100, 20.0), 20.0, 50, reasoning_tok=30, in_tok=7)
    records["service_us"] = 2_000_000 - (records["intended_ns"] - records["intended_ns"].min()) // 1_000
    row = analysis.tokens(records).iloc[0]
    assert (row["n"], row["in_tok"], row["out_tok"], row["reasoning_tok"]) == (100, 700, 5_000, 3_000)
    assert (row["per_s"], row["per_user_s"]) == (2_500, 50)


def test_deviation_from_the_plan(make):
    """Counted over planned tokens, of the requests that have both; beyond 2 % it is put in words."""
    records = make(np.full(100, 9), in_tok=103, out_tok=99, planned_in_tok=100, planned_out_tok=100)
    row = analysis.tokens(records).iloc[0]
    assert row["in_deviation"] == pytest.approx(0.03)
    assert row["out_deviation"] == pytest.approx(-0.01)
    assert deviating(row) == ["input tokens deviate by +3.0% from the plan (limit 2%)"]


def test_without_a_plan_nothing_deviates(make):
    """Requests without a plan, failures and answers without counts are in no deviation."""
    records = pd.concat(
        [make(np.full(10, 9)), make(np.full(10, 9), planned_in_tok=5, planned_out_tok=5, outcome="error"),
         make(np.full(10, 9), planned_in_tok=5, planned_out_tok=5, in_tok=0, out_tok=0)]
    )  # fmt: skip
    row = analysis.tokens(records).iloc[0]
    assert (row["n"], row["uncounted"]) == (20, 10)
    assert math.isnan(row["in_deviation"])
    assert deviating(row) == []


def test_no_requests():
    """Nothing recorded: counts are 0 and rates NaN."""
    row = analysis.tokens(analysis.empty()).iloc[0]
    assert (row["n"], row["out_tok"]) == (0, 0)
    assert math.isnan(row["per_s"])
    assert math.isnan(row["per_user_s"])
