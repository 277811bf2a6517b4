"""Budgets by period, on a clock that the test sets."""

from datetime import UTC, datetime

import pytest

from tailrace import Memory, Spend
from tailrace.client.limiters.spend import SpendLimiter, span
from tailrace.client.stores import budgets


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


PERIODS = [
    ("day", "2026-11-28T00:00:00", "2026-11-28", "2026-11-29T00:00:00"),
    ("day", "2026-11-28T23:59:59", "2026-11-28", "2026-11-29T00:00:00"),
    ("day", "2028-02-28T12:00:00", "2028-02-28", "2028-02-29T00:00:00"),
    ("month", "2026-11-30T23:59:59", "2026-11", "2026-12-01T00:00:00"),
    ("month", "2026-12-31T23:59:59", "2026-12", "2027-01-01T00:00:00"),
    ("month", "2028-02-29T00:00:00", "2028-02", "2028-03-01T00:00:00"),
]


@pytest.mark.parametrize(("per", "moment", "name", "end"), PERIODS)
def test_days_and_months_begin_at_midnight_utc(per, moment, name, end):
    """A moment lies in the day or month of UTC; the next one begins where it ends."""
    found = span(per, at(moment))
    assert (found.name, found.ends_at) == (name, at(end))
    assert found.begins_at <= at(moment) < found.ends_at
    assert span(per, found.ends_at).begins_at == found.ends_at


@pytest.mark.parametrize(("per", "again"), [("day", True), ("month", False), ("ever", False)])
def test_a_new_period_begins_with_the_whole_budget(per, again):
    """Tomorrow a daily budget is whole again; a monthly one and one for ever are not."""
    now = [at("2026-11-28T10:00:00")]
    limiter = SpendLimiter(Spend(max_usd=1.0, per=per), lambda: now[0])
    first = limiter.reservation("", 1.0)
    assert limiter.reserve(first).granted
    limiter.settle(first, None)
    assert not limiter.reserve(limiter.reservation("", 0.5)).granted
    now[0] += 86_400
    assert limiter.reserve(limiter.reservation("", 0.5)).granted is again


def test_a_call_counts_for_the_period_in_which_it_began():
    """A call over midnight settles yesterday: today's budget is whole."""
    now = [at("2026-11-28T23:59:59")]
    limiter = SpendLimiter(Spend(max_usd=1.0, per="day"), lambda: now[0])
    reservation = limiter.reservation("", 1.0)
    assert limiter.reserve(reservation).granted
    assert limiter.resets_in_s() == 1.0
    now[0] += 2
    limiter.settle(reservation, 0.7)
    assert (limiter.spent_usd(), limiter.reserved_usd(), limiter.left_usd()) == (0.0, 0.0, 1.0)
    now[0] -= 2
    assert limiter.spent_usd() == pytest.approx(0.7)


def test_clients_that_share_a_memory_store_share_a_budget():
    """Budgets of one name in one store are one; of two names, or without a store, they are two."""
    store = Memory()
    one, other, named = (SpendLimiter(Spend(max_usd=1.0, store=store, name=name)) for name in ("", "", "mine"))
    assert one.reserve(one.reservation("", 0.8)).granted
    assert not other.reserve(other.reservation("", 0.8)).granted
    assert named.reserve(named.reservation("", 0.8)).granted
    alone = SpendLimiter(Spend(max_usd=1.0))
    assert alone.reserve(alone.reservation("", 0.8)).granted


def test_tenants_are_bounded_and_further_ones_share_a_budget(monkeypatch):
    """Beyond the limit, all further tenants have one budget together; a new period drops the old accounts."""
    monkeypatch.setattr(budgets, "MOST_OWNERS", 3)
    now = [at("2026-11-28T10:00:00")]
    limiter = SpendLimiter(Spend(max_usd=1.0, per="day", per_tenant=True), lambda: now[0])
    granted = [limiter.reserve(limiter.reservation(f"tenant {n}", 0.6)).granted for n in range(6)]
    assert granted == [True, True, True, True, False, False]
    assert len(limiter._budgets) == 4
    now[0] += 86_400
    assert limiter.reserve(limiter.reservation("tenant 9", 0.6)).granted
    assert len(limiter._budgets) == 1
