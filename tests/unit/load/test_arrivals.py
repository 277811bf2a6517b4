"""Schedules as laws: how many, when, how split, and that a seed is a schedule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tailrace.load import Schedule, arrivals

RATES = st.floats(1, 500)
SPANS = st.floats(0.1, 20)


def schedules() -> st.SearchStrategy[Schedule]:
    """Schedules of every shape and law."""
    laws = st.sampled_from(["constant", "poisson"])
    return st.one_of(
        st.builds(arrivals.constant, RATES, SPANS),
        st.builds(arrivals.poisson, RATES, SPANS, st.integers(0, 99)),
        st.builds(arrivals.gamma, RATES, SPANS, st.floats(0.2, 5), st.integers(0, 99)),
        st.builds(arrivals.ramp, st.floats(0, 300), RATES, SPANS, laws, st.integers(0, 99)),
        st.builds(arrivals.steps, st.lists(RATES, min_size=1, max_size=5), SPANS, laws, st.integers(0, 99)),
        st.builds(arrivals.on_off, RATES, SPANS, SPANS, st.integers(1, 4), laws, st.integers(0, 99)),
    )


def quarters(schedule: Schedule, parts: int = 4) -> np.ndarray:
    """How many arrivals fall into each part of the duration."""
    edges = np.linspace(0, schedule.duration_s * 1e9, parts + 1)
    return np.histogram(schedule.offsets_ns(), edges)[0]


def ks_exponential(gaps: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance from the exponential law, times √n; 1.95 is the limit at 0.1 %."""
    n, cdf = len(gaps), 1 - np.exp(-np.sort(gaps) / gaps.mean())
    return float(np.sqrt(n) * max(np.max(np.arange(1, n + 1) / n - cdf), np.max(cdf - np.arange(n) / n)))


@given(schedules())
@settings(deadline=None)
def test_arrivals_rise_within_the_duration(schedule: Schedule):
    """Offsets never fall, and lie between 0 and the duration."""
    offsets = schedule.offsets_ns()
    assert offsets.dtype == np.int64
    assert np.all(np.diff(offsets) >= 0)
    assert len(offsets) == 0 or (offsets[0] >= 0 and offsets[-1] <= schedule.duration_s * 1e9)


@given(schedules())
@settings(deadline=None)
def test_as_many_as_the_rate_asks_for(schedule: Schedule):
    """The number of arrivals is the area under the rate, whatever the law."""
    expected = sum(piece.expected for piece in schedule.pieces)
    assert abs(len(schedule.offsets_ns()) - expected) <= 1


@given(schedules(), st.integers(1, 7))
@settings(deadline=None)
def test_shards_share_the_schedule(schedule: Schedule, shards: int):
    """The shards' arrivals together are the schedule, each arrival once."""
    parts = [schedule.offsets_ns(shard, shards) for shard in range(shards)]
    assert np.array_equal(np.sort(np.concatenate(parts)), schedule.offsets_ns())


@given(st.integers(0, 1000))
@settings(deadline=None)
def test_a_seed_is_a_schedule(seed: int):
    """The same seed gives the same arrivals, another one gives others."""
    same, other = arrivals.poisson(50, 4, seed), arrivals.poisson(50, 4, seed + 1)
    assert np.array_equal(arrivals.poisson(50, 4, seed).offsets_ns(), same.offsets_ns())
    assert not np.array_equal(same.offsets_ns(), other.offsets_ns())


def test_constant_gaps_are_equal():
    """100/s for 2 s: 200 arrivals from 0 ms, one each 10 ms."""
    assert np.array_equal(arrivals.constant(100, 2).offsets_ns(), np.arange(200) * 10_000_000)


def test_poisson_gaps_are_exponential_and_equal_gaps_are_not():
    """The law of the gaps is accepted for Poisson and refused for constant and for bursty arrivals."""
    assert ks_exponential(np.diff(arrivals.poisson(1000, 20, 3).offsets_ns())) < 1.95
    assert ks_exponential(np.diff(arrivals.constant(1000, 20).offsets_ns())) > 10
    assert ks_exponential(np.diff(arrivals.gamma(1000, 20, 2, 3).offsets_ns())) > 10


@pytest.mark.parametrize("cv", [0.5, 1, 3])
def test_gamma_has_the_burstiness_that_was_asked_for(cv: float):
    """The coefficient of variation of the gaps is the requested one."""
    gaps = np.diff(arrivals.gamma(1000, 50, cv, 7).offsets_ns())
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1)


def test_ramp_puts_its_arrivals_where_the_rate_is():
    """From 0 to 100/s in 8 s: the quarters hold 1, 3, 5 and 7 sixteenths of 400."""
    assert quarters(arrivals.ramp(0, 100, 8)) == pytest.approx([25, 75, 125, 175], abs=1)
    assert quarters(arrivals.ramp(100, 0, 8)) == pytest.approx([175, 125, 75, 25], abs=1)


def test_a_poisson_ramp_follows_its_rate():
    """With random gaps the same shape holds within chance."""
    assert quarters(arrivals.ramp(0, 1000, 8, "poisson", 2)) == pytest.approx([250, 750, 1250, 1750], rel=0.2)


def test_steps_burst_and_silence():
    """Each stretch has its own rate, and off means no arrival at all."""
    assert list(quarters(arrivals.steps([10, 20, 30, 40], 2))) == [20, 40, 60, 80]
    assert list(quarters(arrivals.burst(10, 100, 2, 2, 8))) == [20, 200, 20, 20]
    assert list(quarters(arrivals.on_off(50, 2, 2, 2, "poisson", 1)))[1::2] == [0, 0]


def test_users_are_no_schedule():
    """A closed loop has no offsets, and says its name."""
    closed = arrivals.users(5, 10)
    assert not hasattr(closed, "offsets_ns")
    assert closed.name == "closed loop, 5 users"


@pytest.mark.parametrize("rate", [-1, float("nan"), float("inf")])
def test_refuses_what_is_no_rate(rate: float):
    """A negative or infinite rate is refused where it is written."""
    with pytest.raises(ValidationError):
        arrivals.constant(rate, 1)


def test_a_burst_beyond_the_end_is_refused():
    """A burst has to lie within the duration."""
    with pytest.raises(ValidationError):
        arrivals.burst(1, 10, 5, 6, 10)
