"""Verdicts and their reasons."""

import numpy as np
import pandas as pd

from tailrace import analysis
from tailrace.objectives import Objectives
from tailrace.verdict import fold


def overall(judged):
    return fold(judgement.verdict for judgement in judged)


def spread(make, **columns):
    return make(np.random.default_rng(2).permutation(np.arange(1_000, 11_000)), **columns)


def test_three_values(make):
    """The whole interval within is PASS, the whole beyond FAIL, and one on both sides INCONCLUSIVE."""
    records = spread(make)
    verdicts = [analysis.judge(records, Objectives({"p99": limit}))[0].verdict for limit in (12, 10.9, 9)]
    assert verdicts == ["PASS", "INCONCLUSIVE", "FAIL"]


def test_reason_in_words(make):
    """The reason holds the value, its interval, the limit, n and the generator's lag."""
    text = analysis.judge(spread(make, send_lag_us=700), Objectives({"p99": 80}))[0].text
    assert text.startswith("p99 11.6 ms [11.")
    assert text.endswith("] is within 80 ms; n = 10,000; generator lag p99 0.7 ms")


def test_empty_is_inconclusive():
    """No data is never PASS, and nothing to judge is not either."""
    judged = analysis.judge(analysis.empty(), Objectives({"p50": 100, "p99": 100}, error_rate=0.001))
    assert [j.verdict for j in judged] == ["INCONCLUSIVE"] * 3
    assert [j.ok for j in judged] == [None] * 3
    assert judged[1].text == "p99 n/a (needs 368); n = 0"
    assert overall(judged) == "INCONCLUSIVE"


def test_error_rate(make):
    """The error rate is counted: one failure too many fails, and too few requests decide nothing."""

    def judged(n, errors, limit):
        records = pd.concat([make(np.full(n - errors, 9)), make(np.full(errors, 9), outcome="error")])
        return analysis.judge(records, Objectives(error_rate=limit))[0]

    assert judged(1_000, 1, 0.001).verdict == "PASS"
    assert judged(1_000, 2, 0.001).verdict == "FAIL"
    assert judged(999, 0, 0.001).verdict == "INCONCLUSIVE"
    assert judged(10, 1, 0.001).verdict == "FAIL"
    assert judged(10, 0, 0.0).verdict == "PASS"
    assert judged(1_000, 2, 0.001).text == "2 of 1,000 failed (0.2 %), beyond 0.1 %"


def test_invalid_measurement_decides_nothing(make):
    """An invalid measurement is neither PASS nor FAIL, and the verdict says why."""
    judged = analysis.judge(spread(make), Objectives({"p99": 80, "p50": 1}), invalid=["shard 1 is missing"])
    assert {j.verdict for j in judged} == {"INCONCLUSIVE"}
    assert judged[0].text.startswith("the measurement is invalid: shard 1 is missing (p99 10.9 ms")


def test_overall(make):
    """One failure decides; one open question withholds PASS."""
    records = spread(make)
    assert overall(analysis.judge(records, Objectives({"p50": 80, "p99": 80}))) == "PASS"
    assert overall(analysis.judge(records, Objectives({"p50": 80, "p99": 10.9}))) == "INCONCLUSIVE"
    assert overall(analysis.judge(records, Objectives({"p50": 1, "p99": 10.9}))) == "FAIL"


def test_few_episodes_are_said(make):
    """All slow requests in one stall: the judgement says that the interval is unreliable."""
    stalled = np.full(5_000, 5_000) + np.arange(5_000) % 7
    stalled[2_000:2_200] = 900_000
    text = analysis.judge(make(stalled), Objectives({"p99": 80}))[0].text
    assert "only 1 slow episode, the interval is unreliable" in text
