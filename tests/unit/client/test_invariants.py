"""Invariants of the client under random policies, faults and callers, in simulated time.

Whatever a caller does and a provider answers: each call is one row, every permit, reservation and stream is given
back, every attempt is accounted for, and nobody gets the answer to another question. Each invariant has a negative
control: a client that is broken on purpose violates it.
"""

import gc

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from tests.unit.client.simulation import Caller, Shared, simulate
from tests.unit.client.simulation_blocking import InlineThread, simulate_blocking

from depth import FULL, scaled
from tailrace import Breaker, Cache, Fallback, Limits, Memory, Retry, Spend, Target
from tailrace.client import AsyncDriver
from tailrace.client.call import fallback, fetch, ledger, pipeline
from tailrace.client.call.attempts import Attempts
from tailrace.client.call.pending import PendingCall
from tailrace.client.drivers import threads
from tailrace.client.limiters import concurrency, spend
from tailrace.client.response import streams
from tailrace.client.stores.budgets import Balance


@pytest.fixture(autouse=True, scope="module")
def _imports_not_collected():
    """Exempt imported modules from garbage collection: every simulation collects, and they would take most of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


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
callers_ = st.lists(
    st.builds(
        Caller,
        at=st.sampled_from([0.0, 0.05, 0.3, 1.5, 3.0]),
        question=st.integers(0, 1),
        stream=st.booleans(),
        cache_control=st.sampled_from(["", "", "", "max-age=1", "max-age=0", "no-cache", "no-store"]),
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
limits_ = st.builds(
    Limits, deadline_s=st.sampled_from([None, 0.3, 1.0]), attempt_timeout_s=st.sampled_from([None, 0.2]),
    concurrency=st.sampled_from([None, 1, 2, "adaptive"]), requests_per_min=st.sampled_from([None, 60.0]),
    tokens_per_min=st.sampled_from([None, 6000.0]), hedge_after_s=st.sampled_from([None, 0.05]),
    breaker=st.sampled_from([None, Breaker(min_calls=2, open_s=0.5)]),
)  # fmt: skip
policies = st.fixed_dictionaries({
    "cache": st.one_of(caches, caches, caches, st.none()), "retry": st.none() | retries, "limits": st.none() | limits_,
    "spend": st.sampled_from([None, Spend(max_usd=1.0), Spend(max_usd=0.0001)]),
    "fallbacks": often((), st.just((Fallback(model="gpt-4o"),))),
    "targets": often((), st.just((Target(), Target(model="gpt-4o", weight=2), Target(base_url="http://other/v1")))),
})  # fmt: skip


def violated(world, callers):
    """Return the names of the invariants that do not hold."""
    rows, policy, provider = world.rows, world.policy, world.provider
    pipelines = [driver.pipeline for driver in world.drivers]
    fetchers = [one.fetcher for one in pipelines]
    permits = [one.attempts.permits for one in fetchers if one.attempts.permits is not None]
    permits += [destination.permits for one in fetchers if one.attempts.destinations is not None
                for destination in one.attempts.destinations.all() if destination.permits is not None]  # fmt: skip
    limiters = [one.ledger.spend_limiter for one in pipelines if policy.spend is not None]
    limits = policy.limits or Limits(breaker=None)
    attempts, hedged = sum(row.attempts for row in rows), limits.hedge_after_s is not None
    # an abandoned stream is closed one turn of the loop after its permit is given back
    abandoned = any(caller.stream and not caller.closes for caller in callers)
    tries = policy.retry.attempts if policy.retry else 1
    moves = len(policy.targets) if policy.retry else 0
    most = (tries * (1 + len(policy.fallbacks)) + moves) * (1 + hedged)
    leased = getattr(policy.cache and policy.cache.store, "leased", {})
    invariants = {
        "callers get what they may get": not world.violations,
        "each call is one row": len(rows) == len(callers) + len(world.drivers) + world.in_background,
        "each attempt is counted": provider.sent == attempts or (hedged and provider.sent < attempts),
        "attempts are bounded": all(row.attempts <= most for row in rows),
        "a cost is not negative": all(row.cost_usd is None or row.cost_usd >= 0 for row in rows),
        "every permit is back": all(one.in_flight == 0 and not one._waiting for one in permits),
        "no more permits than allowed": not isinstance(limits.concurrency, int)
        or abandoned
        or provider.most <= limits.concurrency * len(world.drivers),
        "every reservation is back": all(abs(limiter.reserved_usd()) < 1e-12 for limiter in limiters),
        "no more spent than allowed": all(limiter.spent_usd() <= policy.spend.max_usd for limiter in limiters),
        "every lease is back": not leased,
        "every stream is closed": world.unclosed == 0,
        "no fetch goes on": not any(len(driver._single_flight) for driver in world.drivers),
        "every abandoned stream is booked": not any(fetcher.abandoned for fetcher in fetchers),
    }
    return [invariant for invariant, holds in invariants.items() if not holds]


def check(plan, policy, callers, simulation=simulate):
    """Return the simulated world; fail with the invariants that are violated."""
    world = simulation(plan, policy, callers)
    names = violated(world, callers)
    assert not names, f"{names}: {world.violations} {world.rows}"
    return world


def search(examples, simulation=simulate, **more):
    """Search for a simulation that violates an invariant, and fail when there is one."""

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck), **more)  # fmt: skip
    @given(plans, policies, callers_)
    def holds(plan, policy, callers):
        world = check(plan, policy, callers, simulation)
        for label in {row.cache for row in world.rows} | {row.outcome for row in world.rows}:
            event(label)

    holds()


@pytest.mark.parametrize("simulation", [simulate, simulate_blocking])
def test_the_invariants_hold(simulation, monkeypatch):
    """All invariants hold, whatever happens, with asyncio and with threads."""
    monkeypatch.setattr(threads.threading, "Thread", InlineThread)
    search(scaled(200, 60), simulation)


def nothing(*_):
    return None


def no_effects(*_):
    return iter(())


def twice(function):
    def called(*arguments, **more):
        function(*arguments, **more)
        return function(*arguments, **more)

    return called


async def sent_twice(driver, effect):
    await driver._send(effect.request)
    return await driver._primed(effect.request)


def always_one_more(permits):
    permits.in_flight += 1
    return True


def never_refused(limiter, reservation):
    limiter._budgets.reserve(reservation, 1e9, 0.0, 1.0)
    return Balance(True, 1.0)


held = []


async def held_open(body):
    held.append(body)


BROKEN = {
    "each call is one row": (ledger.Ledger, "failed", twice(ledger.Ledger.failed)),
    "each attempt is counted": (AsyncDriver, "_attempt", sent_twice),
    "attempts are bounded": (fallback, "choices", lambda call, _: [call.original] * 9),
    "every permit is back|deadlock": (PendingCall, "release_permit", nothing),
    "every reservation is back": (ledger.Ledger, "settle", nothing),
    "no more spent than allowed": (spend.SpendLimiter, "reserve", never_refused),
    "no more permits than allowed": (concurrency.Permits, "try_acquire", always_one_more),
    "every lease is back": (fetch.Fetcher, "_release_lease", no_effects),
    "every stream is closed": (streams, "aclose", held_open),
    "every abandoned stream is booked": (fetch.Fetcher, "_account_for_abandoned", no_effects),
    "too old": (PendingCall, "age_s", lambda *_: 0.0),
    "another's answer": (pipeline, "cache_key", lambda *_: "key"),
    "too late": (Attempts, "time_s", lambda *_: (None, None)),
}
"""What is broken on purpose, by the invariant that it violates."""


def caller(at=0.0, question=0, stream=False, cache_control="", reads=None, closes=False):
    return Caller(at, question, stream, cache_control, None, reads, closes)


def policy(**parts):
    return {"cache": None, "retry": None, "limits": None, "spend": None, "fallbacks": (), **parts}


LEAVES, GPT_4O = caller(stream=True, reads=0), (Fallback(model="gpt-4o"),)
GOOD = [(0.0, "good")]


def recorded(named):
    """Return the smallest simulation that shows a violation, as the search found it, with an empty store."""
    return {
        "each call is one row": (GOOD, policy(), [LEAVES]),
        "each attempt is counted": (GOOD, policy(), [caller()]),
        "attempts are bounded": ([(0.0, "broken")], policy(fallbacks=GPT_4O), [caller()]),
        "every permit is back|deadlock": (GOOD, policy(limits=Limits(concurrency=1)), [caller()]),
        "every reservation is back": (GOOD, policy(spend=Spend(max_usd=1.0)), [caller()]),
        "no more spent than allowed": (
            [(0.0, "broken")], policy(spend=Spend(max_usd=0.0001), fallbacks=GPT_4O), [caller()],
        ),
        "no more permits than allowed": ([(0.1, "good")], policy(limits=Limits(concurrency=1)), [caller(), caller()]),
        "every lease is back": (GOOD, policy(cache=Cache(Shared())), [caller()]),
        "every stream is closed": (GOOD, policy(), [caller(stream=True, reads=0, closes=True)]),
        "every abandoned stream is booked": (GOOD, policy(), [LEAVES]),
        "too old": (GOOD, policy(cache=Cache()), [caller(), caller(at=3.0, cache_control="max-age=1")]),
        "another's answer": (GOOD, policy(cache=Cache()), [caller(), caller(question=1)]),
        "too late": ([(2.0, "good")], policy(limits=Limits(deadline_s=0.3)), [caller()]),
    }[named]  # fmt: skip


@pytest.mark.parametrize("named", BROKEN)
def test_a_broken_client_violates_its_invariant(monkeypatch, named):
    """Negative control: the recorded simulation shows the violation; at full depth the search finds it as well."""
    check(*recorded(named))
    place, name, broken = BROKEN[named]
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(AssertionError, match=named):
        check(*recorded(named))
    if FULL:
        with pytest.raises(AssertionError, match=named):
            search(1000, phases=[Phase.generate])
    held.clear()
