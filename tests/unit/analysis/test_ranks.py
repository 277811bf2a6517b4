"""The signed-rank test and what belongs to it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.analysis import ranks


def test_known_p_values():
    """Exact p-values by hand: 3 pairs, all up: 2/8; 8 pairs with a sum of 3 below: 2 × 5/256."""
    assert ranks.signed_rank(np.array([1.0, 2, 3])) == pytest.approx(0.25)
    assert ranks.signed_rank(np.array([-1.0, -2, 3, 4, 5, 6, 7, 8])) == pytest.approx(10 / 256)


def test_null_is_a_distribution():
    """The null distribution sums to one and is symmetric."""
    for n in (1, 2, 7, 30):
        null = ranks.null(n)
        assert null.sum() == pytest.approx(1)
        assert null == pytest.approx(null[::-1])


def test_approximation_agrees():
    """Where both can be had, the approximation for many pairs is close to the exact value."""
    rng = np.random.default_rng(3)
    d = rng.normal(0.2, 1, 60)
    exact, near = ranks.signed_rank(d), ranks.signed_rank(np.append(d, [d[0]]))
    assert exact == pytest.approx(near, abs=0.04)


def test_nothing_to_see():
    """Without differences, or with zeros alone, nothing is shown."""
    assert ranks.signed_rank(np.array([])) == ranks.signed_rank(np.zeros(9)) == 1.0
    assert all(math.isnan(v) for v in ranks.shift(np.array([])))


def test_shift_and_its_interval():
    """The estimate is the median of the Walsh averages; its interval excludes 0 exactly when the test does."""
    d = np.array([0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    assert ranks.shift(d)[0] == 1.75
    assert ranks.shift(d[:5])[1:] == (-math.inf, math.inf)  # 5 pairs cannot reach 95 %
    rng = np.random.default_rng(5)
    for _ in range(50):
        sample = rng.normal(0.4, 1, 20)
        low, high = ranks.shift(sample)[1:]
        assert (ranks.signed_rank(sample) <= 0.05) == (not low <= 0 <= high)


def test_holm_by_hand():
    """0.01, 0.04, 0.03 become 0.03, 0.06, 0.06."""
    assert ranks.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers(p_values):
    """An adjusted p-value is never below the raw one, never above 1, and keeps the order."""
    raw = np.array(p_values)
    adjusted = ranks.holm(raw)
    assert (adjusted >= raw).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()
