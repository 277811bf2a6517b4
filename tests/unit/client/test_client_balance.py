"""The books balance: random policies, faults and callers, and laws that hold for all of them.

Whatever a caller does and a provider answers: each call is one row, every permit, reservation and stream is given
back, no attempt is made that is not told, and nobody gets what he did not ask for. Each law is broken once.
"""

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from tests.unit.client.lives import Asker, Shared, lived
from tests.unit.client.lives_blocking import AtOnce, lived_blocking

from tailrace import Breaker, Cache, Fallback, Limits, Memory, Retry, Spend
from tailrace.client import AsyncDriver
from tailrace.client.call import fallback, fetch, ledger, pipeline
from tailrace.client.call.attempts import Attempts
from tailrace.client.call.pending import PendingCall
from tailrace.client.drivers import threads
from tailrace.client.limiters import concurrency, spend
from tailrace.client.response import streams


def often(value, other):
    return st.just(value) | st.just(value) | other


plans = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.1, 0.4, 2.0]),
        st.sampled_from(["good", "good", "good", "cut", "broken", "timeout", "connection", 400, 429, 500]),
    ),
    min_size=1,
    max_size=6,
)
askers = st.lists(
    st.builds(
        Asker,
        at=st.sampled_from([0.0, 0.05, 0.3, 1.5, 3.0]),
        question=st.integers(0, 1),
        stream=st.booleans(),
        wish=st.sampled_from(["", "", "", "max-age=1", "max-age=0", "no-cache", "no-store"]),
        leaves_s=often(None, st.sampled_from([0.0, 0.02, 0.2, 1.0])),
        reads=often(None, st.integers(0, 2)),
        closes=st.booleans(),
        process=st.integers(0, 1),
    ),
    min_size=1,
    max_size=10,
)
caches = st.builds(
    Cache, store=st.builds(Memory) | st.builds(Shared), ttl_s=st.sampled_from([0.5, 1.2, 60.0]), coalesce=st.booleans(),
    stale_while_revalidate_s=st.sampled_from([0.0, 2.0]), stale_if_error_s=st.sampled_from([0.0, 5.0]),
)  # fmt: skip
retries = st.builds(Retry, attempts=st.integers(1, 3), base_s=st.just(0.1), budget=st.sampled_from([None, 0.2]))
limitses = st.builds(
    Limits, deadline_s=st.sampled_from([None, 0.3, 1.0]), attempt_timeout_s=st.sampled_from([None, 0.2]),
    concurrency=st.sampled_from([None, 1, 2, "adaptive"]), requests_per_min=st.sampled_from([None, 60.0]),
    tokens_per_min=st.sampled_from([None, 6000.0]), hedge_after_s=st.sampled_from([None, 0.05]),
    breaker=st.sampled_from([None, Breaker(min_calls=2, open_s=0.5)]),
)  # fmt: skip
policies = st.fixed_dictionaries({
    "cache": st.one_of(caches, caches, caches, st.none()), "retry": st.none() | retries, "limits": st.none() | limitses,
    "spend": st.sampled_from([None, Spend(max_usd=1.0), Spend(max_usd=0.0001)]),
    "fallbacks": often((), st.just((Fallback(model="gpt-4o"),))),
})  # fmt: skip


def unbalanced(world, people):
    """Return the laws that do not hold."""
    rows, policy, provider = world.rows, world.policy, world.provider
    fetchers = [driver.pipeline.fetcher for driver in world.drivers]
    permits = [fetcher.attempts.permits for fetcher in fetchers if fetcher.attempts.permits is not None]
    purses = [driver.pipeline.ledger.spend_limiter for driver in world.drivers if policy.spend is not None]
    under_way = [
        task for driver in world.drivers for task in (*driver._single_flight._under_way, *driver._single_flight._pumps)
    ]
    limits = policy.limits or Limits(breaker=None)
    told, hedged = sum(row.attempts for row in rows), limits.hedge_after_s is not None
    forgotten = any(one.stream and not one.closes for one in people)  # a turn of the loop is between permit and stream
    most = (policy.retry.attempts if policy.retry else 1) * (1 + len(policy.fallbacks)) * (1 + hedged)
    leased = getattr(policy.cache and policy.cache.store, "leased", {})
    laws = {
        "nothing strange": not world.strange,
        "each call is one row": len(rows) == len(people) + len(world.drivers) + world.behind,
        "each attempt is told": provider.sent == told or (hedged and provider.sent < told),
        "attempts are bounded": all(row.attempts <= most for row in rows),
        "what a call cost is known or not known": all(row.cost_usd is None or row.cost_usd >= 0 for row in rows),
        "every permit is back": all(one.in_flight == 0 and not one._waiting for one in permits),
        "no more permits than allowed": not isinstance(limits.concurrency, int)
        or forgotten
        or provider.most <= limits.concurrency * len(world.drivers),
        "every reservation is back": all(abs(purse.reserved_usd()) < 1e-12 for purse in purses),
        "no more spent than allowed": all(purse.spent_usd() <= policy.spend.max_usd for purse in purses),
        "every lease is back": not leased,
        "every stream is closed": world.unclosed == 0,
        "no fetch goes on": not under_way,
        "nobody is left to book": not any(fetcher._abandoned for fetcher in fetchers),
    }
    return [law for law, holds in laws.items() if not holds]


def law(examples, life=lived, **more):
    """Return the search for a `life` in which a law does not hold."""

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck), **more)  # fmt: skip
    @given(plans, policies, askers)
    def balanced(plan, policy, people):
        world = life(plan, policy, people)
        for label in {row.cache for row in world.rows} | {row.outcome for row in world.rows}:
            event(label)
        broken = unbalanced(world, people)
        assert not broken, f"{broken}: {world.strange} {world.rows}"

    return balanced


@pytest.mark.slow
@pytest.mark.parametrize("life", [lived, lived_blocking])
def test_the_books_balance(life, monkeypatch):
    """All laws hold, whatever happens, with asyncio and with threads."""
    monkeypatch.setattr(threads.threading, "Thread", AtOnce)
    law(200, life)()


def nothing(*_):
    return None


def of_nobody(*_):
    return iter(())


def twice(one):
    def done(*given, **more):
        one(*given, **more)
        return one(*given, **more)

    return done


async def sent_twice(driver, effect):
    await driver._send(effect.request)
    return await driver._primed(effect.request)


def always_one_more(permits):
    permits.in_flight += 1
    return True


def never_refused(purse, _tenant, most_usd):
    purse._taken[""] += most_usd


held = []


async def held_open(body):
    held.append(body)


BROKEN = {
    "each call is one row": (ledger.Ledger, "failed", twice(ledger.Ledger.failed)),
    "each attempt is told": (AsyncDriver, "_attempt", sent_twice),
    "attempts are bounded": (fallback, "choices", lambda call, _: [call.original] * 9),
    "every permit is back|everybody waits for somebody": (PendingCall, "release_permit", nothing),
    "every reservation is back": (ledger.Ledger, "settle", nothing),
    "no more spent than allowed": (spend.SpendLimiter, "reserve", never_refused),
    "no more permits than allowed": (concurrency.Permits, "try_acquire", always_one_more),
    "every lease is back": (fetch.Fetcher, "_release_lease", of_nobody),
    "every stream is closed": (streams, "aclose", held_open),
    "nobody is left to book": (fetch.Fetcher, "_account_for_abandoned", of_nobody),
    "too old": (PendingCall, "age_s", lambda *_: 0.0),
    "another's answer": (pipeline, "cache_key", lambda *_: "key"),
    "too late": (Attempts, "_timeout_s", nothing),
}


@pytest.mark.parametrize("named", BROKEN)
def test_a_law_that_is_broken_is_found(monkeypatch, named):
    """Negative control: a client that forgets one thing breaks the law about it, and the search finds that."""
    place, name, instead = BROKEN[named]
    monkeypatch.setattr(place, name, instead)
    with pytest.raises(AssertionError, match=named):
        law(1000, phases=[Phase.generate])()
    held.clear()
