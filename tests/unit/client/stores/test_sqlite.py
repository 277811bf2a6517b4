"""The SQLite store: bounded, shared by processes, and never the reason that a call fails or waits."""

import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from depth import scaled
from tailrace.client.stores import Entry, Sqlite


def entry(text=b"answer", stored_at=1000.0, ttl_s=1e9):
    return Entry(200, (("content-type", "application/json"),), (text,), False, stored_at, stored_at + ttl_s, "m", 1, 2,
                 0, 0, 0.5)  # fmt: skip


def test_sqlite_holds_its_bytes(tmp_path):
    """The values in the file stay within `max_bytes`, and the newest is kept."""
    store = Sqlite(tmp_path / "c.db", max_bytes=20_000)
    for number in range(100):
        store.put(str(number), entry(b"x" * 500, time.time()))
    with sqlite3.connect(tmp_path / "c.db") as look:
        (used,) = look.execute("SELECT sum(size) FROM entries").fetchone()
    look.close()
    assert 10_000 < used <= 20_000
    assert store.get("99", time.time()) is not None
    assert store.get("0", time.time()) is None
    store.close()


def test_a_corrupt_file_is_set_aside_and_reported(tmp_path, caplog):
    """A file that is not a database is renamed, with a warning, and the store works."""
    path = tmp_path / "c.db"
    path.write_bytes(b"this is not a database" * 100)
    store = Sqlite(path)
    assert store.get("k", 0) is None
    store.put("k", entry())
    assert store.get("k", 0).body == b"answer"
    assert len(list(tmp_path.glob("c.db.corrupt-*"))) == 1
    assert "damaged" in caplog.text
    store.close()


def test_a_file_that_breaks_while_open_is_set_aside(tmp_path, caplog):
    """A file that is damaged while open costs the cache, never the call."""
    path = tmp_path / "c.db"
    store = Sqlite(path)
    for number in range(200):
        store.put(str(number), entry(b"x" * 2000))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(300_000))
    for number in range(200):
        store.get(str(number), 0)
        store.put(str(number), entry(b"y"))
    assert store.get("5", 0).body == b"y"
    assert "damaged" in caplog.text
    store.close()


def test_a_damaged_entry_is_dropped_alone(tmp_path):
    """One bad value is a miss; the others stay."""
    store = Sqlite(tmp_path / "c.db")
    store.put("good", entry())
    store.put("bad", entry())
    with sqlite3.connect(tmp_path / "c.db") as other:
        other.execute("UPDATE entries SET value = x'00' WHERE key = 'bad'")
    other.close()
    assert store.get("bad", 0) is None
    assert store.get("good", 0).body == b"answer"
    store.close()


WRITERS = scaled(4, 2)
WRITER = """
import sys, time
from tailrace.client.stores import Entry, Sqlite
store, who = Sqlite(sys.argv[1]), int(sys.argv[2])
for turn in range(1_000_000):
    now, body = time.time(), b"%d" % who * 500
    store.put(f"{who}-{turn % 50}", Entry(200, (), (body,), False, now, now + 1e9, "m", 1, 2, 0, 0, 0.5))
"""


def test_sqlite_survives_kill_9_of_many_writers(tmp_path):
    """Processes that write without end are killed: the file is intact, and every entry in it is right."""
    path = tmp_path / "c.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(who)]) for who in range(WRITERS)]
    try:
        store, until = Sqlite(path), time.monotonic() + 20
        while not all(store.get(f"{who}-10", time.time()) for who in range(WRITERS)) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    found = [store.get(f"{who}-{turn}", time.time()) for who in range(WRITERS) for turn in range(50)]
    assert sum(item is not None for item in found) > 10 * WRITERS
    for place, item in enumerate(found):
        assert item is None or item.body == b"%d" % (place // 50) * 500
    with sqlite3.connect(path) as look:
        assert look.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    look.close()
    assert list(tmp_path.glob("*.corrupt-*")) == []
    store.close()


@pytest.fixture
def writing(tmp_path):
    """Return a function that opens a transaction and leaves it open, as a stopped process would."""
    writers = []

    def begun(how):
        writers.append(sqlite3.connect(tmp_path / "c.db", isolation_level=None))
        writers[-1].execute(f"BEGIN {how}")

    yield begun
    for writer in writers:
        writer.execute("ROLLBACK")
        writer.close()


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_read_never_waits_for_a_writer(tmp_path, writing, how):
    """While another process writes, a hit comes at once, thanks to the WAL, also one whose last use is written."""
    store = Sqlite(tmp_path / "c.db")
    store.put("k", entry(stored_at=time.time()))
    writing(how)
    assert store.get("k", time.time() + 3600) is not None
    store.close()


def test_without_the_wal_a_writer_would_lock_readers_out(tmp_path, writing):
    """Negative control: with SQLite's own default journal, the same read is a miss."""
    store = Sqlite(tmp_path / "c.db")
    store.put("k", entry(stored_at=time.time()))
    store.close()
    with sqlite3.connect(tmp_path / "c.db") as other:
        assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    other.close()
    writing("EXCLUSIVE")
    assert store.get("k", time.time()) is None
    store.close()


def test_a_file_that_many_make_at_once_is_made_once(tmp_path):
    """SQLite does not wait while it turns on its WAL; the store does: one caller gets the lease, none an error."""
    for number in range(40):
        stores = [Sqlite(tmp_path / f"{number}.db") for _ in range(3)]
        together, leased = threading.Barrier(3), []

        def go(store, together=together, leased=leased):
            together.wait()
            leased.append(store.lease("k", time.time(), 5))

        threads = [threading.Thread(target=go, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in stores:
            store.close()
        assert sorted(leased) == [False, False, True]
