"""The search for the highest rate, as a law over services whose limit is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.load.rate_point import Point
from tailrace.load.rate_search import Capacity, Search, find


def service(limit_rps: float, generator_rps: float = math.inf):
    """A measurement of a service that holds up to `limit_rps`, by a generator that holds up to `generator_rps`."""
    rates = []

    def measure(rate: float) -> Point:
        rates.append(rate)
        meets = rate <= limit_rps
        return Point(
            rate, rate, 0.0, {"p99": 1.0 if meets else 9.0}, rate <= generator_rps, meets, "" if meets else "x"
        )

    measure.rates = rates
    return measure


@given(st.floats(10, 10_000))
def test_finds_the_limit(limit_rps: float):
    """The true limit lies between the two rates, which are at most 10 % apart."""
    capacity = find(service(limit_rps), Search(10, 20_000))
    assert capacity.highest_rps <= limit_rps < capacity.lowest_failing_rps
    assert capacity.lowest_failing_rps <= capacity.highest_rps * 1.1
    assert [point.rate_rps for point in capacity.points] == sorted(point.rate_rps for point in capacity.points)


def test_nothing_meets():
    """When the lowest rate fails, there is no highest one."""
    capacity = find(service(5), Search(10, 100))
    assert math.isnan(capacity.highest_rps)
    assert len(capacity.points) == 1


def test_everything_meets():
    """When the highest rate holds, the limit lies beyond, and it says so."""
    capacity = find(service(1e9), Search(10, 100))
    assert (capacity.highest_rps, capacity.lowest_failing_rps) == (100, math.inf)
    assert "every rate up to 100/s" in capacity.reason


def test_the_generator_gives_in_first():
    """A rate that the generator cannot hold says nothing about the service: the search ends there."""
    capacity = find(service(1e9, generator_rps=50), Search(10, 1000))
    assert capacity.highest_rps == 40
    assert "not valid" in capacity.reason


def test_a_disturbed_measurement_is_taken_again():
    """A rate at which the generator was disturbed once is measured once more, and the search goes on."""
    measure, disturbed = service(50), [20.0, 80.0]

    def jolted(rate: float) -> Point:
        point = measure(rate)
        if rate in disturbed:
            disturbed.remove(rate)
            return replace(point, valid=False)
        return point

    capacity = find(jolted, Search(10, 1000))
    assert capacity.highest_rps <= 50 < capacity.lowest_failing_rps
    assert measure.rates.count(20) == 2


def test_stops_at_the_most_points():
    """No more than the allowed measurements are made."""
    measure = service(777)
    assert isinstance(find(measure, Search(1, 10_000, within=1e-6, most_points=5)), Capacity)
    assert len(measure.rates) == 5


@pytest.mark.parametrize("order", [(0, 1), (2, 1), (1, 2, 1.0)])
def test_refuses_a_search_that_goes_nowhere(order):
    """A range upside down or a factor of one is refused."""
    with pytest.raises(ValueError, match="expected 0 < from_rps"):
        Search(*order)
