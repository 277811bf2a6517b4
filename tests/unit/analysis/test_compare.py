"""Comparison by paired windows."""

import numpy as np
import pandas as pd
import pytest
from tests.unit.analysis.test_measured import streams

from tailrace import analysis
from tailrace.analysis import study
from tailrace.analysis.compare import METRICS, TOKEN_METRICS, beside, compare


@pytest.fixture(scope="module")
def alarms():
    return study.alarms({"none": 0.0, "+1 s on 1 %": 1.0}, repeats=60).set_index("effect")


def test_false_alarms(alarms):
    """Arms that differ in nothing but share their stalls are called different in at most 8 % of comparisons."""
    assert alarms.loc["none", "slower"] + alarms.loc["none", "faster"] <= 0.08


def test_power(alarms):
    """One second more for 1 % of 20,000 requests is called slower in at least 70 %."""
    assert alarms.loc["+1 s on 1 %", "slower"] >= 0.7


def arm(make, seed, factor=1.0, **columns):
    service = np.random.default_rng(seed).lognormal(10.8, 0.3, 8_000) * factor
    return make(service.astype("int64"), 200.0, **columns)


def test_effect_with_interval(make):
    """Half as slow again: the ratio is 1.5, its interval holds that, and the judgement fails with both in words."""
    compared = compare(arm(make, 1), arm(make, 2, 1.5))
    row = compared.table.iloc[0]
    assert (row["metric"], row["primary"], row["windows"]) == ("p99", True, 30)
    assert row["ratio_lo"] < 1.5 < row["ratio_hi"]
    assert row["ratio"] == pytest.approx(1.5, rel=0.1)
    assert compared.concurrent
    assert compared.judgement.verdict == "FAIL"
    assert compared.judgement.text.startswith("p99 1.")
    assert "over 30 paired windows: slower; tolerated 20 %" in compared.judgement.text


def test_short_arms_have_fewer_windows(make):
    """Two thousand requests make 16 windows of 120 and more, and are decided; 500 are not."""
    short, tiny = ([arm(make, seed).iloc[:n] for seed in (1, 2)] for n in (2_000, 500))
    assert compare(*short).table["windows"].iloc[0] >= 15
    assert compare(*short).judgement.verdict == "PASS"
    assert compare(*tiny).judgement.verdict == "INCONCLUSIVE"


def test_arms_said_not_to_be_concurrent(make):
    """Whoever knows that the clocks differ says so, and the text tells."""
    compared = compare(arm(make, 1), arm(make, 2), concurrent=False)
    assert not compared.concurrent
    assert compared.judgement.text.endswith("descriptive")


def test_same_is_no_difference(make):
    """Two arms of one law: no difference is shown in any metric, and the judgement passes."""
    compared = compare(arm(make, 1), arm(make, 2))
    assert set(compared.table["verdict"]) == {"no difference shown"}
    assert compared.judgement.verdict == "PASS"


def test_a_faster_arm_passes(make):
    """A faster arm is found faster, and passes."""
    compared = compare(arm(make, 1, 1.5), arm(make, 2))
    assert compared.table["verdict"].iloc[0] == "faster"
    assert compared.judgement.verdict == "PASS"


def test_secondary_metrics_are_adjusted(make):
    """Holm's adjustment leaves the primary p-value and never lowers the others."""
    table = compare(arm(make, 1), arm(make, 2, 1.02)).table
    assert table["p_adjusted"].iloc[0] == table["p_value"].iloc[0]
    assert (table["p_adjusted"] >= table["p_value"]).all()


def test_errors(make):
    """More failures show in their share, and are not in the latencies."""
    failing = arm(make, 2)
    failing.loc[np.random.default_rng(4).random(len(failing)) < 0.03, "outcome"] = "error"
    table = compare(arm(make, 1), failing).table.set_index("metric")
    assert table.loc["errors", "verdict"] == "more failures"
    assert table.loc["errors", "ratio"] == pytest.approx(0.03, abs=0.01)
    assert table.loc["p99", "verdict"] == "no difference shown"


def test_before_and_after_is_descriptive(make):
    """Arms that did not run at the same time are paired by their own clocks, and the reason says so."""
    later = arm(make, 2).assign(intended_ns=lambda f: f["intended_ns"] + 10**12)
    compared = compare(arm(make, 1), later)
    assert not compared.concurrent
    assert compared.table["windows"].iloc[0] == 30
    assert "before/after, not at the same time: descriptive" in compared.judgement.text


@pytest.mark.parametrize("few", [0, 500])
def test_too_few_decide_nothing(make, few):
    """Without requests, or with too few windows, nothing is decided, and the reason says how many are needed."""
    small = arm(make, 1).iloc[:few]
    compared = compare(small, arm(make, 2).iloc[:few])
    assert compared.judgement.verdict == "INCONCLUSIVE"
    assert "(needs 8)" in compared.judgement.text
    assert set(compared.table["verdict"]) == {"n/a"}


def test_empty():
    """Nothing against nothing is INCONCLUSIVE."""
    assert compare(analysis.empty(), analysis.empty()).judgement.verdict == "INCONCLUSIVE"


def test_shared_stalls_cancel(make):
    """A stall of both arms at the same time is no difference; of one arm alone it is, in that window only."""
    stall = np.zeros(8_000, int)
    stall[2_000:2_400] = 800_000
    a, b = arm(make, 1), arm(make, 2)
    both = compare(a.assign(service_us=a["service_us"] + stall), b.assign(service_us=b["service_us"] + stall))
    assert both.table["verdict"].iloc[0] == "no difference shown"
    assert isinstance(both.table, pd.DataFrame)


def test_only_the_shared_time_is_compared(make):
    """What one arm did before the other began, and after it had ended, is not in the comparison."""
    a, b = arm(make, 1), arm(make, 2)
    cut = b["intended_ns"].iloc[[3_000, 6_000]].tolist()
    a.loc[~a["intended_ns"].between(*cut), "service_us"] *= 9
    compared = compare(a, b[b["intended_ns"].between(*cut)])
    assert compared.table["verdict"].iloc[0] == "no difference shown"
    assert compare(a, b).judgement.text != compared.judgement.text


def test_side_by_side_is_what_one_route_served(make):
    """Of the two colours, only requests count that were routed while both had a share; and without a route, all."""
    colours = np.where(np.arange(8_000) % 2, "blue", "green")
    mixed = arm(make, 1, colour=colours, generation=np.where(np.arange(8_000) < 5_000, 2, 3))
    mixed.loc[5_010:, "colour"] = "green"  # generation 3 is green's, but for what was under way
    blue, green = beside(mixed, "colour", "blue", "green")
    assert (len(blue), len(green)) == (2_500, 2_500)
    assert set(blue["generation"]) == {2}
    blue, green = beside(mixed.assign(generation=range(8_000)), "colour", "blue", "green")
    assert len(blue) + len(green) == 8_000


def streamed_arm(make, seed, ttft=1.0, tpot=1.0):
    rng = np.random.default_rng(seed)
    return streams(make, rng.lognormal(4, 0.3, 8_000) * ttft, rng.lognormal(2, 0.2, 8_000) * tpot, 20, send_lag_us=0)


def test_tokens_are_compared(make):
    """Streams that start half as late again are slower in TTFT, with the ratio, and not in the time per token."""
    table = compare(streamed_arm(make, 1), streamed_arm(make, 2, ttft=1.5)).table.set_index("metric")
    assert tuple(table.index) == (*METRICS, *TOKEN_METRICS)
    assert table["primary"].tolist() == [True, False, False, False, False, False]
    assert table.loc["ttft_p95", "ratio"] == pytest.approx(1.5, rel=0.1)
    assert table["verdict"][["ttft_p95", "tpot_p50"]].tolist() == ["slower", "no difference shown"]


def test_a_metric_of_tokens_may_be_primary(make):
    """Declared first, it decides the judgement."""
    arms = streamed_arm(make, 1), streamed_arm(make, 2, tpot=1.5)
    judgement = compare(*arms, metrics=("tpot_p50", "p99")).judgement
    assert (judgement.name, judgement.verdict) == ("tpot_p50 no worse than the baseline", "FAIL")
    assert compare(*arms, metrics=("ttft_p95",)).judgement.verdict == "PASS"


def test_too_few_streams_decide_nothing(make):
    """Windows with fewer streams than a percentile needs have none; without any window the metric is n/a."""
    arms = [streamed_arm(make, seed).assign(stream=np.arange(8_000) % 200 == 0) for seed in (1, 2)]
    table = compare(*arms).table.set_index("metric")
    assert table.loc["ttft_p95", ["windows", "verdict"]].tolist() == [0, "n/a"]
    assert table.loc["p99", "windows"] == 30
