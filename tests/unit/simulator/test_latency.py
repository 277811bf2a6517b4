"""Latencies are lognormal, and repeat with their seed."""

import math
import statistics

import pytest

from tailrace.simulator.latency import Latency, Pace


def firsts(pace, count):
    return [pace.first_s() for _ in range(count)]


def test_waits_have_the_configured_median_and_spread():
    """The logarithm of the waits is normal around the logarithm of the median."""
    pace = Pace(Latency(ttft_s=0.05, ttft_sigma=0.4, token_s=0.002, token_sigma=0.2), seed=3)
    for waits, median_s, sigma in ((firsts(pace, 20_000), 0.05, 0.4), (pace.gaps_s(20_001), 0.002, 0.2)):
        logs = [math.log(wait) for wait in waits]
        # Standard errors: sigma/√n of the mean, sigma/√2n of the deviation; five of them are allowed.
        assert statistics.fmean(logs) == pytest.approx(math.log(median_s), abs=5 * sigma / math.sqrt(20_000))
        assert statistics.stdev(logs) == pytest.approx(sigma, abs=5 * sigma / math.sqrt(40_000))


def test_sequences_repeat_with_the_seed_and_only_with_it():
    """Equal seeds give equal sequences, different seeds different ones."""
    latency = Latency()
    assert firsts(Pace(latency, 1), 5) == firsts(Pace(latency, 1), 5)
    assert firsts(Pace(latency, 1), 5) != firsts(Pace(latency, 2), 5)


def test_the_time_to_first_token_does_not_depend_on_earlier_responses():
    """The k-th request gets the k-th time to first token, however long the responses before it were."""
    one, two = Pace(Latency(), 1), Pace(Latency(), 1)
    two.first_s(), two.gaps_s(50)
    one.first_s(), one.gaps_s(3)
    assert one.first_s() == two.first_s()


def test_a_median_of_zero_is_no_wait():
    """Medians of zero give waits of exactly zero."""
    pace = Pace(Latency(ttft_s=0, token_s=0), 1)
    assert pace.first_s() == 0
    assert pace.gaps_s(4) == [0, 0, 0]
    assert pace.gaps_s(0) == []


def test_without_spread_every_wait_is_the_median():
    """A sigma of zero gives a constant."""
    pace = Pace(Latency(ttft_s=0.2, ttft_sigma=0, token_s=0.1, token_sigma=0), 1)
    assert firsts(pace, 3) == [0.2] * 3
    assert pace.gaps_s(3) == [0.1] * 2
