"""One contract for every store: memory, SQLite, Redis."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.stores import Entry, Memory, Sqlite, Store


def entry(text=b"answer", stored_at=1000.0, ttl_s=1e9, chunks=None):
    return Entry(200, (("content-type", "application/json"),), chunks or (text,), chunks is not None, stored_at,
                 stored_at + ttl_s, "m", 1, 2, 0, 0, 0.5)  # fmt: skip


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request, tmp_path):
    """Each store in turn."""
    if request.param == "memory":
        made = Memory()
    elif request.param == "sqlite":
        made = Sqlite(tmp_path / "cache.db")
    else:
        url = request.getfixturevalue("redis_url")
        from tailrace.client.stores.redis import Redis

        made = Redis(url, prefix=f"{tmp_path.name}:")
    yield made
    made.close()


def test_it_is_a_store(store):
    """Every store follows the protocol."""
    assert isinstance(store, Store)


def test_what_is_put_is_got(store):
    """An entry comes back as it was, chunk by chunk."""
    kept = entry(stored_at=time.time(), chunks=(b"data: 1\n\n", b"", b"data: [DONE]\n\n"))
    store.put("k", kept)
    assert store.get("k", time.time()) == kept
    assert store.get("other", time.time()) is None


def test_the_last_put_wins(store):
    """A second put replaces the first."""
    now = time.time()
    store.put("k", entry(b"one", now))
    store.put("k", entry(b"two", now))
    assert store.get("k", now).body == b"two"


def test_an_expired_entry_is_gone(store):
    """An entry is not returned after it has expired."""
    now = time.time()
    store.put("k", entry(stored_at=now, ttl_s=60))
    assert store.get("k", now + 61) is None


def test_redis_drops_an_entry_by_itself(redis_url):
    """Redis drops an expired entry by itself, without a read."""
    from tailrace.client.stores.redis import Redis

    store, now = Redis(redis_url, "ttl:"), time.time()
    store.put("k", entry(stored_at=now, ttl_s=0.2))
    store.put("kept", entry(stored_at=now, ttl_s=60))
    time.sleep(0.3)
    assert [store._redis.exists(f"ttl:{key}") for key in ("k", "kept")] == [0, 1]
    store.close()


def test_threads_may_share_it(store):
    """Eight threads put and get at once; nothing is lost and nothing is mixed up."""
    now, failures = time.time(), []

    def work(who):
        for turn in range(20):
            text = b"%d-%d" % (who, turn)
            store.put(f"{who}-{turn}", entry(text, now))
            if store.get(f"{who}-{turn}", now).body != text:
                failures.append(text)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_lease_is_for_one(kind, request, tmp_path):
    """Of two owners one gets the lease; the other gets it after its release or expiry."""
    if kind == "sqlite":
        one, other = Sqlite(tmp_path / "c.db"), Sqlite(tmp_path / "c.db")
    else:
        url = request.getfixturevalue("redis_url")
        from tailrace.client.stores.redis import Redis

        one, other = Redis(url, "lease:"), Redis(url, "lease:")
    now = time.time()
    assert one.lease("k", now, 0.3)
    assert not other.lease("k", now, 0.3)
    other.release("k")  # not his
    assert not other.lease("k", now, 0.3)
    one.release("k")
    assert other.lease("k", now, 0.3)
    time.sleep(0.35)
    assert one.lease("k", time.time(), 0.3)
    one.close()
    other.close()


@given(st.lists(st.binary(max_size=50), max_size=6), st.floats(0, 1e10), st.none() | st.floats(0, 1e3))
def test_packing_loses_nothing(chunks, stored_at, cost):
    """An entry is the same after packing and unpacking, whatever its chunks."""
    kept = Entry(200, (("a", "b\u00e9"),), tuple(chunks), True, stored_at, stored_at, "m", 1, 2, 3, 4, cost)
    assert Entry.unpack(kept.pack()) == kept


@given(st.binary(max_size=80))
def test_damaged_bytes_are_no_entry(damaged):
    """Bytes that are not an entry raise ValueError, and nothing else; no code in them runs."""
    with pytest.raises(ValueError):  # noqa: PT011
        Entry.unpack(damaged)


def test_memory_holds_its_bytes_and_drops_the_least_recently_used():
    """The store stays within its limit; the most recently used entries are kept."""
    store = Memory(max_bytes=20_000)
    for number in range(200):
        store.put(str(number), entry(b"x" * 500))
        store.get("0", 0)
        assert store.size_bytes <= store.max_bytes
    assert store.get("0", 0) is not None
    assert store.get("1", 0) is None
    store.put("huge", entry(b"x" * 30_000))
    assert store.get("huge", 0) is None


def test_memory_counts_what_python_takes():
    """The counted bytes are close to the real growth of the process."""
    psutil = pytest.importorskip("psutil")
    store, before = Memory(max_bytes=1 << 30), psutil.Process().memory_info().rss
    for number in range(20_000):
        store.put(f"{number:064d}", entry(b"%d" % number + b"x" * 1000))
    grown = psutil.Process().memory_info().rss - before
    assert store.size_bytes > 0.6 * grown
