"""Intervals of quantiles."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tailrace import percentiles
from tailrace.analysis import intervals


def test_ranks_by_the_binomial_law():
    """Of 100 independent values the median's interval is between ranks 40 and 61: the textbook's."""
    assert intervals.ranks(100, "p50") == (40, 61)


def test_least_n_uses_the_extremes():
    """At its least n the interval of p99 ends at the largest value; below, it is all that there is."""
    assert intervals.ranks(368, "p99")[1] == 368
    assert intervals.ranks(20, "p99") == (1, 20)


@given(st.integers(10, 10**6), st.sampled_from(["p50", "p95", "p99"]), st.floats(1, 50))
@example(100, "p99", 34.0)
def test_wider_with_the_effect(n, percentile, effect):
    """The more requests depend on each other, the wider the interval; it always holds the estimate."""
    low, high = intervals.ranks(n, percentile, effect)
    plain_low, plain_high = intervals.ranks(n, percentile)
    assert 1 <= low <= percentiles.rank(n, percentile) <= high <= n
    if n >= 10 * percentiles.needs(percentile) * effect:
        assert low <= plain_low + n * effect // 10_000 + effect
        assert high >= plain_high - n * effect // 10_000 - effect


def test_effect_sees_bursts():
    """Slow requests that come together raise the design effect; the same ones scattered do not."""
    n = 64_000
    times = np.arange(n) * 10**6
    together, scattered = np.ones(n, int), np.ones(n, int)
    for start in range(0, n, 8_000):
        together[start : start + 80] = 2
    scattered[::100] = 2
    effects = [intervals.effects(intervals.cells(v, [1], intervals.batched(times)))[0] for v in (together, scattered)]
    assert effects[0] > 20
    assert effects[1] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("spells", [1, 3, 9])
def test_episodes_are_counted(spells):
    """Stalls that are apart are as many episodes as there were."""
    times = np.arange(100_000) * 10**7
    slow = np.zeros(100_000, bool)
    for spell in range(spells):
        slow[5_000 + spell * 10_000 : 5_100 + spell * 10_000] = True
    assert intervals.episodes(times, slow) == spells
    assert intervals.episodes(times, ~slow & False) == 0
