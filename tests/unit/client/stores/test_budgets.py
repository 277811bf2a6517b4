"""Budgets in each store: never more than the limit, whatever the number of clients, and nothing held for ever."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace import Memory, Spend, Sqlite
from tailrace.client.limiters.spend import SpendLimiter
from tailrace.client.stores import budgets, sqlite_budgets
from tailrace.client.stores.budgets import Account, MemoryBudgets, Reservation, SoleBudget

EVER = Account("", "ever", "", float("inf"))


@pytest.fixture(params=["memory", "sqlite", "redis"])
def kept(request, tmp_path):
    """Budgets in each store."""
    if request.param == "redis":
        store = pytest.importorskip("tailrace.client.stores.redis").Redis(
            request.getfixturevalue("redis_url"), tmp_path.name
        )
    else:
        store = Memory() if request.param == "memory" else Sqlite(tmp_path / "llm.db")
    yield store.budgets()
    store.close()


def held(ticket, usd, account=EVER):
    return Reservation(account, ticket, usd)


def test_a_budget_reserves_and_settles(kept):
    """What is reserved or spent is not granted again; the unused part of a reservation is."""
    assert kept.reserve(held("a", 0.6), 1.0, 1000.0, 60.0) == (True, pytest.approx(0.4))
    assert kept.reserve(held("b", 0.6), 1.0, 1000.0, 60.0) == (False, pytest.approx(0.4))
    assert kept.taken_usd(EVER, 1000.0) == (0.0, pytest.approx(0.6))
    kept.settle(held("a", 0.6), 0.1)
    assert kept.taken_usd(EVER, 1000.0) == (pytest.approx(0.1), pytest.approx(0.0))
    assert kept.reserve(held("c", 0.9), 1.0, 1000.0, 60.0) == (True, pytest.approx(0.0, abs=1e-9))


def test_threads_never_reserve_more_than_is_left(kept):
    """Of forty threads that each want a tenth, ten get it."""
    granted = []

    def reserve(number):
        granted.append(kept.reserve(held(f"t{number}", 0.1), 1.0, 1000.0, 60.0).granted)

    threads = [threading.Thread(target=reserve, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [False] * 30 + [True] * 10


def test_the_first_owner_of_a_period_has_a_budget_of_his_own(kept, monkeypatch):
    """Yesterday's owners, as many as there may be, take no place of today's, and his call is settled."""
    for module in (budgets, sqlite_budgets):
        monkeypatch.setattr(module, "MOST_OWNERS", 2)
    midnight = float(int(time.time()))  # Redis ends a period by its own clock
    yesterday = [Account("", "2026-01-01", f"o{number}", midnight) for number in range(2)]
    for number, account in enumerate(yesterday):
        assert kept.reserve(held(f"y{number}", 0.9, account), 1.0, midnight - 100, 60.0).granted
    today = [Account("", "2026-01-02", f"o{number}", midnight + 86_400) for number in range(2)]
    assert kept.reserve(held("first", 0.9, today[0]), 1.0, midnight + 1, 60.0).granted
    kept.settle(held("first", 0.9, today[0]), 0.1)
    assert kept.taken_usd(today[0], midnight + 1) == (pytest.approx(0.1), pytest.approx(0.0))
    assert kept.reserve(held("second", 0.9, today[1]), 1.0, midnight + 1, 60.0).granted


def test_further_owners_share_one_budget(kept, monkeypatch):
    """Beyond the limit of owners, all others have one budget together, and settle in it."""
    for module in (budgets, sqlite_budgets):
        monkeypatch.setattr(module, "MOST_OWNERS", 2)
    if type(kept).__module__.endswith("redis_budgets"):
        monkeypatch.setattr("tailrace.client.stores.redis_budgets.MOST_OWNERS", 2)
    owners = [Account("many", "ever", f"owner {number}", float("inf")) for number in range(4)]
    granted = [kept.reserve(held(one.owner, 0.6, one), 1.0, 1000.0, 60.0).granted for one in owners]
    assert granted == [True, True, True, False]
    kept.settle(held(owners[2].owner, 0.6, owners[2]), 0.0)
    assert kept.reserve(held("again", 0.6, owners[3]), 1.0, 1000.0, 60.0).granted


def test_what_a_dead_process_reserved_is_free_again_after_a_while(tmp_path):
    """A reservation expires after `reservation_s`, not before; a cost that comes later counts all the same."""
    kept = Sqlite(tmp_path / "llm.db").budgets()
    assert kept.reserve(held("dead", 1.0), 1.0, 1000.0, 60.0).granted
    assert not kept.reserve(held("b", 1.0), 1.0, 1059.0, 60.0).granted
    assert kept.reserve(held("c", 1.0), 1.0, 1061.0, 60.0).granted
    kept.settle(held("dead", 1.0), 0.3)
    assert kept.taken_usd(EVER, 1061.0) == (pytest.approx(0.3), pytest.approx(1.0))
    kept.close()


def test_a_reservation_is_renewed_also_when_it_has_expired(kept):
    """It is held once, however often it is renewed, and is free again once it settles."""
    if isinstance(kept, MemoryBudgets):
        kept.reserve(held("a", 0.6), 1.0, 1000.0, 60.0)
        kept.renew(held("a", 0.6), 5000.0, 60.0)
    else:  # Redis has a clock of its own, so one that is over at once
        kept.reserve(held("a", 0.6), 1.0, 1000.0, -1.0)
        assert kept.taken_usd(EVER, 1000.0) == (0.0, 0.0)
    for _ in range(2):
        kept.renew(held("a", 0.6), 1000.0, 60.0)
        assert kept.taken_usd(EVER, 1001.0) == (0.0, pytest.approx(0.6))
    assert not kept.reserve(held("b", 0.6), 1.0, 1001.0, 60.0).granted
    kept.settle(held("a", 0.6), 0.1)
    assert kept.taken_usd(EVER, 1001.0) == (pytest.approx(0.1), pytest.approx(0.0))


@pytest.mark.parametrize(
    ("policy", "memory", "account", "warns"),
    [
        ("allkeys-lru", "64mb", EVER, True),
        ("volatile-lru", "64mb", Account("", "2999-01-01", "", 3.3e10), True),
        ("volatile-lru", "64mb", EVER, False),
        ("allkeys-lru", "0", EVER, False),
        ("noeviction", "64mb", EVER, False),
        ("forbidden", "64mb", EVER, False),
    ],
)
def test_a_redis_that_may_evict_a_budget_is_told_of_once(redis_url, tmp_path, caplog, policy, memory, account, warns):
    """Two reservations log one warning with what to do, and no password; where nothing is evicted, or `CONFIG` is
    forbidden, there is none, and the budget is kept all the same.
    """
    redis = pytest.importorskip("redis")
    from tailrace.client.stores.redis import Redis

    url = redis_url.replace("redis://", "redis://caller:secret@")
    admin = redis.Redis.from_url(redis_url)
    admin.acl_setuser("caller", True, passwords=["+secret"], keys=["*"], categories=["+@all"], commands=[
        "-config" if policy == "forbidden" else "+config"
    ])  # fmt: skip
    admin.config_set("maxmemory", memory)
    admin.config_set("maxmemory-policy", "allkeys-lru" if policy == "forbidden" else policy)
    store = Redis(url, tmp_path.name)
    try:
        kept = store.budgets()
        assert kept.reserve(held("a", 0.3, account), 1.0, 1000.0, 60.0).granted
        assert kept.reserve(held("b", 0.3, account), 1.0, 1000.0, 60.0).granted
    finally:
        store.close()
        admin.config_set("maxmemory", "0")
        admin.config_set("maxmemory-policy", "noeviction")
        admin.acl_deluser("caller")
        admin.close()
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == warns
    if warns:
        assert f"maxmemory-policy {policy} and may evict a budget" in warnings[0]
        assert "noeviction" in warnings[0]
        assert "secret" not in warnings[0]


def test_a_clock_that_went_back_holds_nothing_for_ever(tmp_path):
    """A reservation that was made far in the future is dropped."""
    kept = Sqlite(tmp_path / "llm.db").budgets()
    assert kept.reserve(held("future", 1.0), 1.0, 1e9, 60.0).granted
    assert kept.reserve(held("now", 1.0), 1.0, 1000.0, 60.0).granted
    kept.close()


def test_periods_that_are_long_over_are_deleted(tmp_path):
    """The file does not grow by the days: a period goes a day after its end, not at once."""
    kept = Sqlite(tmp_path / "llm.db").budgets()
    for day in range(5):
        account = Account("", f"day {day}", "", (day + 1) * 86_400.0)
        kept.reserve(held(f"t{day}", 0.1, account), 1.0, day * 86_400.0, 60.0)
        kept.settle(held(f"t{day}", 0.1, account), 0.1)
    with kept._transaction() as database:
        left = [period for (period,) in database.execute("SELECT period FROM spent ORDER BY period")]
    assert left == ["day 3", "day 4"]
    kept.close()


def test_budgets_of_one_process_do_not_hold_for_another():
    """The negative control: two budgets in memory grant twice the limit."""
    assert all(MemoryBudgets().reserve(held("a", 1.0), 1.0, 0.0, 1.0).granted for _ in range(2))


ACTS = st.lists(st.tuples(st.sampled_from(["reserve", "settle"]), st.integers(0, 100)), max_size=30)


def history(kept, acts, accounts=(EVER,)):
    """Return what `kept` says to each act, and what is taken after it; the oldest reservation settles first."""
    said, under_way = [], []
    for number, (act, cents) in enumerate(acts):
        if act == "reserve":
            reservation = held("", cents / 100, accounts[number % len(accounts)])
            balance = kept.reserve(reservation, 1.0, 1000.0, 60.0)
            under_way += [reservation] * balance.granted
            said.append(balance)
        elif under_way:
            kept.settle(under_way.pop(0), cents / 100)
        said.append(kept.taken_usd(EVER, 1000.0))
    return said


@given(ACTS)
def test_the_one_budget_of_a_policy_is_kept_as_one_of_many(acts):
    """Alone in memory it needs no account, and says the same."""
    assert history(SoleBudget(), acts) == [pytest.approx(said) for said in history(MemoryBudgets(), acts)]


def test_a_sole_budget_tells_no_accounts_apart():
    """Negative control: with two accounts the two differ, so a policy with several may not use it."""
    acts, accounts = [("reserve", 60), ("reserve", 60)], (EVER, Account("", "ever", "other", float("inf")))
    assert history(SoleBudget(), acts, accounts) != history(MemoryBudgets(), acts, accounts)


@pytest.mark.parametrize(
    ("spend", "sole"),
    [(Spend(max_usd=1), True), (Spend(max_usd=1, per="day"), False), (Spend(max_usd=1, per_tenant=True), False),
     (Spend(max_usd=1, store=Memory()), False)],
)  # fmt: skip
def test_only_a_budget_without_periods_tenants_and_store_is_sole(spend, sole):
    """All others have accounts."""
    assert isinstance(SpendLimiter(spend)._budgets, SoleBudget) is sole
