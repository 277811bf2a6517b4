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


def test_the_interval_of_the_rate_holds_the_truth(make):
    """Of 200 loads with Poisson arrivals and lengths of known means, nine in ten intervals hold the true rate."""
    held, random = 0, np.random.default_rng(3)
    for _ in range(200):
        n = random.poisson(1_000)
        records = make(np.full(n, 1_000), out_tok=1).assign(out_tok=random.geometric(1 / 20, n))
        records["intended_ns"] = np.sort(random.integers(0, 10**11, n))
        row = analysis.tokens(records).iloc[0]
        held += row["per_s_lo"] <= 10 * 20 <= row["per_s_hi"]
    assert held >= 180


def test_tokens_that_come_in_bursts_have_a_wider_interval(make):
    """The same number of tokens, all in every fourth second, is less certain than an even stream of them."""
    even = make(np.full(1_000, 1_000), out_tok=20)
    even["intended_ns"] = np.arange(1_000) * 10**8
    bursts = even.assign(intended_ns=np.arange(1_000) // 250 * 25 * 10**9 + np.arange(1_000) % 250 * 10**7)
    wide, narrow = (row["per_s_hi"] - row["per_s_lo"] for row in (analysis.tokens(f).iloc[0] for f in (bursts, even)))
    assert wide > 5 * narrow
    assert math.isnan(analysis.tokens(even[:10]).iloc[0]["per_s_lo"]), "ten answers say nothing"
