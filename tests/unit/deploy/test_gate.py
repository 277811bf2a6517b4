"""The gate: what takes a colour's traffic away, and what does not."""

import math

import pytest

from tailrace.deploy.edge import ColourCounters
from tailrace.deploy.gate import Window, breach, silent, window
from tailrace.profile import GateLimits

LIMITS = GateLimits(min_requests=20, max_error_rate=0.02, max_latency_ratio=3, latency_floor_ms=20)
BOUNDS = (5.0, 10.0, 50.0, 100.0, 500.0)


def answers(errors: int = 0, **by_bound: int) -> Window:
    """A window by requests per bucket: answers(_10=95, _500=5)."""
    total, latency = 0, []
    for bound in BOUNDS:
        total += by_bound.get(f"_{bound:g}", 0)
        latency.append((bound, total))
    return Window(total, errors, tuple(latency))


def test_a_window_with_too_few_requests_says_nothing():
    """Nineteen failures of nineteen are no verdict yet; one more is."""
    assert breach(answers(19, _5=19), None, LIMITS) == ""
    assert breach(answers(20, _5=20), None, LIMITS) == "20 of 20 requests failed (100.0%); limit 2.0%"


def test_errors_up_to_the_limit_are_held():
    """The limit itself is no breach."""
    assert breach(answers(2, _5=100), None, LIMITS) == ""
    assert breach(answers(3, _5=100), None, LIMITS)


def test_what_failed_before_is_not_the_new_colours_fault():
    """The old colour's error rate is added to the limit."""
    assert breach(answers(12, _5=100), answers(10, _5=100), LIMITS) == ""
    assert breach(answers(13, _5=100), answers(10, _5=100), LIMITS) == "13 of 100 requests failed (13.0%); limit 12.0%"


def test_a_slower_colour_breaks_the_gate():
    """All requests in the 100 ms bucket, where they were in the 10 ms bucket."""
    fact = breach(answers(_100=100), answers(_10=100), LIMITS)
    assert fact == "p95 100 ms over 100 requests; limit 30 ms (before: 10 ms)"


def test_without_a_time_before_only_errors_decide():
    """No old colour, no ratio."""
    assert breach(answers(_500=100), None, LIMITS) == ""
    assert breach(answers(_500=100), answers(_5=3), LIMITS) == ""


def test_differences_below_the_floor_are_noise():
    """Twice as slow, and still under 20 ms more."""
    assert breach(answers(_10=100), answers(_5=100), LIMITS) == ""


def test_streams_at_the_quantile_do_not_make_it_jump():
    """Six long streams of a hundred move p95 from 10 to 500 ms, and are what chance makes of five."""
    assert answers(_10=94, _500=6).percentile_ms("p95") == 500
    assert breach(answers(_10=94, _500=6), answers(_10=95, _500=5), LIMITS) == ""
    assert breach(answers(_10=80, _500=20), answers(_10=95, _500=5), LIMITS).startswith("p95 500 ms")


def test_a_window_is_the_difference_of_two_readings():
    """Counters only rise; the window has what came between."""
    earlier = ColourCounters(10, 1, 1, 0, 0, ((5.0, 4), (10.0, 9)))
    later = ColourCounters(25, 0, 3, 1, 0, ((5.0, 10), (10.0, 24)))
    between = window(earlier, later)
    assert (between.requests, between.errors, between.latency) == (15, 3, ((5.0, 6), (10.0, 15)))
    assert between.sent == 15
    assert between.error_rate == pytest.approx(0.2)


def test_a_colour_that_leaves_requests_unanswered_is_not_well():
    """One answer to 800 requests in 8 s, where the old colour needed 50 ms: few answers are no good sign."""
    old, fact = answers(_50=100), "1 of 800 requests answered in 8.0 s (before: half within 50 ms)"
    assert breach(Window(1, 0, sent=800), old, LIMITS) == ""
    assert silent(Window(1, 0, sent=800), old, 8.0, LIMITS) == fact
    assert silent(Window(100, 0, sent=800), old, 8.0, LIMITS) == ""


@pytest.mark.parametrize(
    ("sent", "before", "seconds"),
    [
        (19, answers(_50=100), 8.0),
        (800, answers(_50=19), 8.0),
        (800, None, 8.0),
        (800, answers(_500=100), 4.9),
        (800, answers(_5=100), 0.2),
    ],
    ids=["hardly any", "too few before", "nothing before", "not time enough", "not counted yet"],
)
def test_silence_is_no_news_where_no_answer_was_due(sent, before, seconds):
    """Nobody asked, nothing is known of the old colour, or its own answers take as long as the watch."""
    assert silent(Window(0, 0, sent=sent), before, seconds, LIMITS) == ""


def test_an_empty_window_has_no_figures():
    """No data is not zero."""
    empty = Window(0, 0)
    assert math.isnan(empty.error_rate)
    assert math.isnan(empty.percentile_ms("p95"))
