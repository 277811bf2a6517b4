"""Circuit breaker, permits, rates and spend limits, on a clock that the test controls."""

import dataclasses
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.limiters.breaker import CircuitBreaker
from tailrace.client.limiters.concurrency import LEAST, MOST, Permits
from tailrace.client.limiters.rate import RateLimiter, Rates
from tailrace.client.limiters.spend import SpendLimiter
from tailrace.client.policy import Breaker, Cache, Fallback, Limits, Policy, Retry, Spend, Target
from tailrace.client.request.guard import Guard


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    """A clock that stands still until the test moves it."""
    return Time()


@pytest.fixture
def breaker(time):
    """A breaker that opens for 5 s when half of ten calls failed."""
    return CircuitBreaker(Breaker(min_calls=10, open_s=5), time)


def test_it_opens_when_half_of_enough_calls_failed(breaker):
    """Nine failures are too few; the tenth opens it."""
    for _ in range(9):
        breaker.report(True)
    assert breaker.admit() == 0
    breaker.report(True)
    assert breaker.admit() == 5


def test_a_success_never_opens_it(breaker):
    """Nor when it makes up the number of calls after failures that were too few; the next failure does."""
    for _ in range(9):
        breaker.report(True)
    for _ in range(5):
        breaker.report(False)
        assert breaker.admit() == 0
    breaker.report(True)
    assert breaker.admit() == 5


def test_429_never_opens_it(breaker):
    """A thousand answers that say nothing about health leave it closed, and do not dilute failures."""
    for _ in range(1000):
        breaker.report(None)
    assert breaker.admit() == 0
    for _ in range(10):
        breaker.report(True)
    assert breaker.admit() > 0


def test_old_failures_are_forgotten(breaker, time):
    """Failures from before the window do not count."""
    for _ in range(9):
        breaker.report(True)
    time.now += 11
    breaker.report(True)
    assert breaker.admit() == 0


@pytest.mark.parametrize(("well", "then"), [(False, 0.0), (None, 0.0), (True, 5.0)])
def test_one_probe_decides(breaker, time, well, then):
    """After `open_s` one call is admitted; an answer, even a 429, closes the circuit, a failure opens it again."""
    for _ in range(10):
        breaker.report(True)
    time.now += 5
    assert breaker.admit() == 0
    assert breaker.admit() > 0, "one probe at a time"
    breaker.report(well)
    assert breaker.admit() == then


def test_late_news_from_before_does_not_close_it(breaker):
    """An attempt that was sent before the circuit opened does not close it."""
    for _ in range(10):
        breaker.report(True)
    breaker.report(False)
    assert breaker.admit() > 0


def test_permits_go_round_in_order():
    """With two permits the third caller waits, and the first release wakes it."""
    permits, events = Permits(2), [threading.Event() for _ in range(4)]
    assert [permits.acquire(event) for event in events] == [True, True, False, False]
    permits.release()
    assert [event.is_set() for event in events] == [False, False, True, False]
    permits.withdraw(events[3])
    permits.release()
    permits.release()
    assert permits.in_flight == 0


def test_callers_get_permits_in_turn():
    """Of five waiting calls of A and one of B, the second permit is B's; the control, all of one, is in order."""
    for callers, order in (("AAAAAB", [0, 5, 1, 2, 3, 4]), ("AAAAAA", [0, 1, 2, 3, 4, 5])):
        permits, events, woken = Permits(1), [threading.Event() for _ in callers], []
        assert permits.try_acquire()
        for event, caller in zip(events, callers, strict=True):
            assert not permits.acquire(event, caller)
        for _ in callers:
            permits.release()
            woken += [number for number, event in enumerate(events) if event.is_set() and number not in woken]
        permits.release()
        assert (woken, permits.in_flight, len(permits._waiting)) == (order, 0, 0)


def test_a_caller_who_stops_waiting_leaves_nothing():
    """Callers come and go: none is kept."""
    permits, events = Permits(1), [threading.Event() for _ in range(100)]
    assert permits.try_acquire()
    for number, event in enumerate(events):
        permits.acquire(event, number)
    for event in events:
        permits.withdraw(event)
    assert len(permits._waiting) == 0
    permits.release()
    assert permits.in_flight == 0


def test_a_permit_that_came_too_late_goes_on():
    """A caller that withdraws after it got a permit passes the permit on."""
    permits, events = Permits(1), [threading.Event() for _ in range(3)]
    for event in events:
        permits.acquire(event)
    permits.release()
    permits.withdraw(events[1])
    assert events[2].is_set()
    assert permits.in_flight == 1


@given(st.lists(st.booleans(), max_size=400))
def test_the_adaptive_limit_stays_within_its_bounds(outcomes):
    """Whatever happens, the limit stays between LEAST and MOST."""
    permits = Permits(None)
    for overloaded in outcomes:
        if permits.try_acquire():
            permits.report(overloaded)
            permits.release()
        assert LEAST <= permits.limit <= MOST


def test_the_adaptive_limit_finds_the_capacity():
    """Against a provider that accepts 40 at once, the limit settles around 40."""
    permits, seen = Permits(None), []
    for turn in range(3000):
        at_once = int(permits.limit)
        for _ in range(at_once):
            permits.try_acquire()
        for place in range(at_once):
            permits.report(place >= 40)
            permits.release()
        if turn > 500:
            seen.append(permits.limit)
    assert 25 <= min(seen) <= 40 <= max(seen) <= 45


def test_the_adaptive_limit_doubles_until_the_first_overload():
    """It doubles after each good round that used it; after the first overload it grows by one per round."""
    permits, limits = Permits(None), [16]
    while len(limits) < 5:
        while permits.try_acquire():
            pass
        permits.report(limits[-1] == 64)
        permits.release()
        if int(permits.limit) != limits[-1]:
            limits.append(int(permits.limit))
    assert limits == [16, 32, 64, 44, 45]


def test_the_adaptive_limit_stays_where_it_is_not_used():
    """A hundred calls in sequence say nothing about the provider's capacity."""
    permits = Permits(None)
    for _ in range(100):
        permits.try_acquire()
        permits.report(False)
        permits.release()
    assert permits.limit == 16


def test_a_fixed_limit_does_not_move():
    """Negative control: only the adaptive one adapts."""
    permits = Permits(7)
    permits.report(True)
    assert permits.limit == 7


def test_a_rate_spreads_what_is_beyond_its_burst(time):
    """60 a minute: ten at once, then one each second."""
    rate = RateLimiter(60, time)
    waits = [rate.reserve(1) for _ in range(13)]
    assert waits == pytest.approx([0.0] * 10 + [1.0, 2.0, 3.0])
    time.now += 3
    assert rate.reserve(1) == pytest.approx(1.0)
    rate.give_back(1)
    assert rate.reserve(1) == pytest.approx(1.0)


def test_no_call_takes_more_than_a_minute_of_a_rate(time):
    """Neither by the limit that its caller names, nor by what the provider counts; the control is the bare rate."""
    limits = Limits(tokens_per_min=600)
    named, counted, bare = Rates(limits, time), Rates(limits, time), RateLimiter(600, time)
    named.reserve(10.0**12)
    counted.reserve(50)
    counted.settle(50, 2.0**31)
    bare.reserve(10.0**12)
    assert max(named.reserve(1), counted.reserve(1)) <= 60.2
    assert bare.reserve(1) > 10.0**10
    named.give_back(10.0**12)
    assert named.reserve(1) == 0.0


def test_a_clock_that_goes_back_gives_nothing_away(time):
    """When time runs backwards the bucket does not fill, and nothing is raised."""
    rate = RateLimiter(60, time)
    rate.reserve(10)
    time.now -= 1000
    assert rate.reserve(1) == pytest.approx(1.0)


def test_a_spend_limit_never_reserves_more_than_is_left():
    """Reservations count at once; settling gives back the unused part."""
    limiter = SpendLimiter(Spend(max_usd=1.0))
    first, second = limiter.reservation("", 0.6), limiter.reservation("", 0.9)
    assert limiter.reserve(first) == (True, pytest.approx(0.4))
    assert limiter.reserve(limiter.reservation("", 0.6)) == (False, pytest.approx(0.4))
    limiter.settle(first, 0.1)
    assert limiter.reserve(second) == (True, pytest.approx(0.0))
    limiter.settle(second, None)  # not known: counted as all of it
    assert limiter.spent_usd() == pytest.approx(1.0)
    assert limiter.reserve(limiter.reservation("", 0.01)) == (False, pytest.approx(0.0))


def test_tenants_have_spend_limits_of_their_own():
    """With `per_tenant`, one tenant's spending does not count for another."""
    limiter = SpendLimiter(Spend(max_usd=1.0, per_tenant=True))
    granted = [
        limiter.reserve(limiter.reservation(tenant, usd)) for tenant, usd in (("a", 1.0), ("b", 1.0), ("a", 0.1))
    ]
    assert [balance.granted for balance in granted] == [True, True, False]


WRONG = [
    (Cache, {"ttl_s": 0}), (Cache, {"ttl_s": float("inf")}), (Retry, {"attempts": 0}), (Limits, {"deadline_s": -1}),
    (Limits, {"concurrency": 0}), (Limits, {"concurrency": "much"}), (Spend, {"max_usd": 0}), (Fallback, {}),
    (Breaker, {"open_s": 0}), (Limits, {"concurrency": 0.5}), (Limits, {"concurrency": True}),
    (Retry, {"attempts": 2.5}),
    (Retry, {"budget": -1}), (Breaker, {"window_s": -1}), (Breaker, {"failure_rate": 50}), (Cache, {"store": "llm.db"}),
    (Cache, {"stale_if_error_s": -1}), (Spend, {"max_usd": 1, "unknown_price": "alow"}),
    (Spend, {"max_usd": 1, "assumed_output_tok": -9}), (Guard, {"roles": "user"}), (Guard, {"max_bytes": 0}),
    (Fallback, {"base_url": "api.openai.com"}), (Policy, {"cache": True}), (Policy, {"retry": 3}),
    (Policy, {"hooks": print}), (Policy, {"fallbacks": Fallback(model="m")}), (Policy, {"fallbacks": ("m",)}),
]  # fmt: skip


@pytest.mark.parametrize(("part", "arguments"), WRONG)
def test_a_senseless_policy_is_refused_when_it_is_made(part, arguments):
    """A limit of zero, or one that is not a number, raises an error that names it."""
    with pytest.raises(ValueError, match=part.__name__):
        part(**arguments)


FIELDS = [(part, field) for part in (Cache, Retry, Breaker, Limits, Spend, Fallback, Target, Guard, Policy)
          for field in dataclasses.fields(part) if field.type != "bool"]  # fmt: skip


@pytest.mark.parametrize(("part", "field"), FIELDS)
def test_none_is_taken_where_the_type_says_so_and_nowhere_else(part, field):
    """None for a required setting is refused by name when the policy is made."""
    whole = {"max_usd": 1.0} if part is Spend else {"model": "m"} if part is Fallback else {}
    if "None" in field.type:
        part(**{**whole, field.name: None})
    else:
        with pytest.raises(ValueError, match=rf"{part.__name__}\({field.name}="):
            part(**{**whole, field.name: None})


def test_only_a_policy_without_anything_is_empty():
    """A policy with all parts off is empty."""
    assert Policy(cache=None, retry=None, guard=None).empty
    assert not Policy(cache=None, retry=None).empty
