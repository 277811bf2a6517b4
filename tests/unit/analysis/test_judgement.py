"""Verdicts and their reasons."""

import numpy as np
import pandas as pd
from tests.unit.analysis.test_gaps import counted
from tests.unit.analysis.test_measured import streams

from tailrace import analysis
from tailrace.objectives import Goodput, Objectives
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


TOKENS = Objectives(ttft_ms={"p95": 300}, tpot_ms={"p99": 40}, itl_ms={"p99": 50}, goodput=Goodput(0.95, ttft_ms=300))


def test_limits_of_tokens(make):
    """TTFT, TPOT, gaps and goodput each have a judgement that says which of them it is."""
    rng = np.random.default_rng(3)
    records = streams(make, rng.uniform(50, 200, 5_000), rng.uniform(1, 30, 5_000), 9)
    gaps = counted(rng.integers(1_000, 30_000, 40_000), rng.integers(0, 50, 40_000))
    judged = analysis.judge(records, TOKENS, gaps=gaps)
    assert [j.verdict for j in judged] == ["PASS"] * 4
    assert [j.name for j in judged] == [
        "TTFT p95 within 300 ms", "TPOT p99 within 40 ms", "ITL p99 within 50 ms",
        "95 % of requests within TTFT 300 ms",
    ]  # fmt: skip
    assert judged[3].text.startswith(
        "5,000 of 5,000 were good, 100 % [99.9 %, 100 %] within TTFT 300 ms: at least 95 %"
    )
    slow = Objectives({}, {"p95": 100}, {"p99": 10}, {"p99": 10}, goodput=Goodput(0.95, ttft_ms=100))
    assert [j.verdict for j in analysis.judge(records, slow, gaps=gaps)] == ["FAIL"] * 4


def test_no_streams_is_never_a_pass(make):
    """Limits of tokens without streams, with failed ones, or without counts are INCONCLUSIVE, and say which it is."""
    plain = analysis.judge(spread(make), TOKENS)
    failed = analysis.judge(streams(make, np.full(500, 9.0), 1.0, 5, outcome="error"), TOKENS)
    uncounted = analysis.judge(streams(make, np.full(500, 9.0), 1.0, 5, out_tok=0), TOKENS)
    assert {j.verdict for j in [*plain, *failed[:3], uncounted[1]]} == {"INCONCLUSIVE"}
    assert "no streams" in plain[0].text
    assert "no streams" in plain[3].text
    assert "all 500 streams failed" in failed[0].text
    assert "none of 500 streams whose tokens were counted" in uncounted[1].text


def test_goodput_in_three_values(make):
    """The whole interval of the share decides; a share of 1 is counted."""

    def judged(bad, share):
        ttft = np.full(1_000, 100.0)
        ttft[np.random.default_rng(1).permutation(1_000)[:bad]] = 900.0
        return analysis.judge(streams(make, ttft, 1.0, 5), Objectives(goodput=Goodput(share, ttft_ms=300)))[0]

    assert [judged(bad, 0.95).verdict for bad in (10, 50, 120)] == ["PASS", "INCONCLUSIVE", "FAIL"]
    assert [judged(bad, 1.0).verdict for bad in (0, 1)] == ["PASS", "FAIL"]


def test_streams_without_a_count_are_said(make):
    """Streams whose tokens were not counted cannot keep a limit of TPOT, and the reason counts them."""
    records = streams(make, np.full(500, 9.0), 1.0, 5, out_tok=np.where(np.arange(500) < 100, 0, 5))
    judged = analysis.judge(records, Objectives(goodput=Goodput(0.95, tpot_ms=40)))[0]
    assert judged.verdict == "FAIL"
    assert judged.text.endswith("; 100 streams without a count of tokens are not good")
