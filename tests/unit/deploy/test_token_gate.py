"""The gate for tokens: what a service's own histograms take its traffic away for, and what they do not."""

import math

import pytest

from tailrace.deploy.token_gate import breach, judged, limits
from tailrace.objectives import Goodput, Objectives
from tailrace.server_metrics import Histogram, Reading

TTFT = limits(Objectives(ttft_ms={"p95": 300}))


def told(fast: int, slow: int, measure: str = "ttft") -> Reading:
    """A reading of values below 250 ms and of values between 500 ms and 1 s."""
    buckets = ((250.0, fast), (500.0, fast), (1000.0, fast + slow), (math.inf, fast + slow))
    return Reading(0, times={measure: Histogram(buckets)})


def test_a_slow_first_token_is_a_breach():
    """Half of the requests beyond the limit of p95 is one, with the numbers in the sentence."""
    why = breach(told(50, 50), None, TTFT, 20)
    assert why == "ttft p95 by its own metrics: 50 of 100 took more than 300 ms (50.0%; limit 5.0%)"


def test_a_fast_one_is_none():
    """The negative control: the same number of requests within the limit."""
    assert breach(told(100, 0), None, TTFT, 20) == ""


@pytest.mark.parametrize(("slow", "held"), [(11, True), (12, False)])
def test_what_chance_alone_can_do_is_none(slow, held):
    """Five of a hundred are usual for p95; three standard deviations more are not."""
    assert (breach(told(100 - slow, slow), None, TTFT, 20) == "") is held


def test_too_few_values_decide_nothing():
    """Nineteen slow ones of nineteen are no verdict yet; one more is."""
    assert breach(told(0, 19), None, TTFT, 20) == ""
    assert breach(told(0, 20), None, TTFT, 20)


def test_what_was_slow_before_is_not_the_new_colours_fault():
    """Where the old colour broke the limit as well, going back to it would help nobody."""
    assert breach(told(50, 50), told(50, 50), TTFT, 20) == ""
    assert breach(told(50, 50), told(95, 5), TTFT, 20)


def test_goodput_is_judged_by_its_hardest_part():
    """A limit of goodput holds its share of the requests, whichever measure it is of."""
    good = limits(Objectives(goodput=Goodput(0.9, ttft_ms=300, tpot_ms=40)))
    assert [limit.measure for limit in good] == ["ttft", "tpot"]
    assert breach(told(100, 0), None, good, 20) == ""
    assert breach(told(60, 40), None, good, 20).startswith("goodput ttft by its own metrics: 40 of 100")
    assert breach(told(60, 40, "tpot"), None, good, 20).startswith("goodput tpot")


def test_an_slo_without_tokens_holds_nobody_to_tokens():
    """Latency and errors are seen by the edge: the service is not asked for them."""
    assert limits(Objectives(latency_ms={"p95": 300}, error_rate=0.1)) == ()
    assert limits(Objectives(goodput=Goodput(0.9, latency_ms=300))) == ()


def test_what_is_not_known_is_said():
    """A missing page, a missing histogram and too few values are not judged, each with its reason."""
    assert judged(told(100, 0), TTFT, 20) == "ttft p95 kept by its own metrics (n ≥ 100)"
    assert judged(Reading(0, why="answered 404"), TTFT, 20) == "ttft p95 not judged (answered 404)"
    assert "no histogram of ttft" in judged(Reading(0), TTFT, 20)
    assert judged(told(3, 0), TTFT, 20) == "ttft p95 not judged (3 values, needs 20)"
    both = limits(Objectives(ttft_ms={"p50": 100, "p95": 300}, tpot_ms={"p95": 40}))
    kept, unknown = judged(told(100, 0), both, 20).split("; ")
    assert kept == "ttft p50, ttft p95 kept by its own metrics (n ≥ 100)"
    assert unknown == "tpot p95 not judged (its metrics have no histogram of tpot)"
