"""The mergeable histogram."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace import histogram, percentiles
from tailrace.histogram import Histogram


@given(st.lists(st.integers(0, histogram.LARGEST_US), min_size=1))
def test_within_a_thousandth(values):
    """Each value comes back within 0.05 %, and exactly up to 2,047 µs."""
    array = np.array(values)
    back = np.array([histogram.middle(place) for place in histogram.bucket(array)])
    assert (np.abs(back - array) <= 0.0005 * array).all()
    assert (back[array < 2_048] == array[array < 2_048]).all()


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_within_a_thousandth(seed):
    """Percentiles of a heavy tail are within 0.1 % of the exact ones, p99.9 as well."""
    values = (np.random.default_rng(seed).pareto(1.2, 50_000) * 9_000 + 300).astype("int64")
    exact = percentiles.inverted_cdf(values)
    for name, value in Histogram.of(values).percentiles_ms().items():
        assert value * 1_000 == pytest.approx(exact[name], rel=0.001)


def test_merging_is_counting_together():
    """Histograms of parts, merged in any order, are the histogram of the whole; averaging percentiles is not."""
    values = np.random.default_rng(1).lognormal(10, 1, 9_000).astype("int64")
    parts = [Histogram.of(values[:100], 1), Histogram.of(values[100:4_000], 2), Histogram.of(values[4_000:])]
    for order in ((0, 1, 2), (2, 0, 1)):
        both = histogram.merged(parts[i] for i in order)
        assert (both.counts == Histogram.of(values).counts).all()
        assert both.errors == 3
    skewed = [Histogram.of(np.full(5_000, 1_000)), Histogram.of(np.full(400, 100_000))]
    averaged = np.mean([part.percentiles_ms(["p90"])["p90"] for part in skewed])
    assert averaged > 10 * histogram.merged(skewed).percentiles_ms(["p90"])["p90"]


def test_packed():
    """It survives being sent, in few bytes; anything else is refused."""
    whole = Histogram.of(np.random.default_rng(1).lognormal(11, 0.5, 100_000).astype("int64"), 7)
    packed = whole.packed()
    again = Histogram.unpacked(packed)
    assert (again.counts == whole.counts).all()
    assert again.errors == 7
    assert len(packed) < 30_000
    with pytest.raises(ValueError, match="not a packed histogram"):
        Histogram.unpacked(b"12345678nothing")


def test_too_few_is_nan():
    """Below the least n a percentile is NaN; of nothing all are, and never 0."""
    assert math.isnan(Histogram.of(np.ones(71, int)).percentiles_ms(["p95"])["p95"])
    assert all(math.isnan(v) for v in histogram.merged([]).percentiles_ms().values())
