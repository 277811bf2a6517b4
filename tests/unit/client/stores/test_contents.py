"""What a shared store holds, as its operator reads it, and deleting a part of it."""

import shutil
import socket
import sqlite3
import subprocess
import time

import pytest

from tailrace.client.stores import Entry, Sqlite
from tailrace.client.stores.contents import Selection, purge, summary, total
from tailrace.client.stores.entry import tenant_digest
from tailrace.client.stores.sqlite_contents import SqliteContents
from tailrace.client.stores.tally import MOST_ROWS, OTHERS, Tally

NOW = time.time()


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    """A Redis of its own on a free port."""
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


@pytest.fixture(params=["sqlite", "redis"])
def opened(request, tmp_path):
    """A store, what opens its contents, and what opens the same store for another process."""
    if request.param == "sqlite":
        store = Sqlite(tmp_path / "cache.db")
        yield store, lambda: SqliteContents(tmp_path / "cache.db"), lambda: Sqlite(tmp_path / "cache.db")
    else:
        from tailrace.client.stores.redis import Redis
        from tailrace.client.stores.redis_contents import RedisContents

        url, prefix = request.getfixturevalue("redis_url"), f"{tmp_path.name}[*]?:"
        store = Redis(url, prefix)
        Redis(url, "another:").put(key(99), entry("m"))
        yield store, lambda: RedisContents(url, prefix), lambda: Redis(url, prefix)
    store.close()


def key(number):
    return f"{number:064x}"


def entry(model, tenant="", age_s=0.0, text=b"answer", chunks=None):
    return Entry(200, (), chunks or (text,), chunks is not None, NOW - age_s, NOW + 3600, f"{model}-2026", 1, 2, 0, 0,
                 0.5, model, tenant_digest(tenant))  # fmt: skip


def filled(store):
    for number, one in enumerate([entry("m", "acme"), entry("m", "acme", 7200), entry("m"), entry("n", "globex"),
                                  entry("n", chunks=(b"x",) * 9000)]):  # fmt: skip
        store.put(key(number), one)
    for model, tenant, hit in [("m", "acme", True), ("m", "acme", True), ("m", "acme", False), ("n", "", False)]:
        store.tally.add(model, tenant, hit)
    store.put(key(2), entry("m"))  # counts are written with the next answer


def test_a_line_for_each_model_and_tenant(opened):
    """Entries, bytes, hits and misses by model and tenant, whose name is nowhere; another prefix is not counted."""
    store, contents, _ = opened
    filled(store)
    made = contents()
    lines = {(line.model, line.tenant): line for line in summary(made, NOW)}
    made.close()
    acme = lines["m", tenant_digest("acme")]
    assert (acme.entries, acme.hits, acme.misses) == (2, 2, 1)
    assert acme.hit_rate == pytest.approx(2 / 3)
    assert lines["m", ""].hit_rate is None
    assert (lines["n", ""].entries, lines["n", ""].misses) == (1, 1)
    assert lines["n", ""].size_bytes > 9000
    assert "acme" not in repr(lines)
    whole = total(lines.values())
    assert (whole.entries, whole.hits, whole.misses) == (5, 2, 2)


@pytest.mark.parametrize(
    ("selection", "left"),
    [(Selection(), []), (Selection(model="m"), [3, 4]), (Selection(model="m-2026"), [3, 4]),
     (Selection(tenant="acme"), [2, 3, 4]), (Selection(tenant=tenant_digest("acme")), [2, 3, 4]),
     (Selection(stored_before=NOW - 3600), [0, 2, 3, 4]), (Selection(model="n", tenant="acme"), [0, 1, 2, 3, 4]),
     (Selection(model="m", tenant="acme", stored_before=NOW - 3600), [0, 2, 3, 4]),
     (Selection(model="M"), [0, 1, 2, 3, 4]), (Selection(tenant="acm"), [0, 1, 2, 3, 4])],
)  # fmt: skip
def test_a_purge_deletes_what_fits_all_that_is_given(opened, selection, left):
    """Only what fits is deleted, at once for those who hold the store open; the rest, the control, is there."""
    store, contents, _ = opened
    filled(store)
    made = contents()
    removed, size_bytes = purge(made, selection)
    made.close()
    assert [number for number in range(5) if store.get(key(number), NOW)] == left
    assert removed == 5 - len(left)
    assert (size_bytes > 0) is (removed > 0)


def test_a_deleted_answer_is_in_no_file(tmp_path):
    """After a purge no file holds the answer any more; before it, the control, one does."""
    store = Sqlite(tmp_path / "cache.db")
    store.put(key(1), entry("m", text=b"SECRET-ANSWER" * 400))

    def found():
        return [path.name for path in tmp_path.iterdir() if b"SECRET-ANSWER" in path.read_bytes()]

    assert found()
    contents = SqliteContents(tmp_path / "cache.db")
    purge(contents, Selection())
    contents.close()
    assert found() == []
    store.close()


def test_counts_are_added_up_by_several_processes(opened):
    """Two holders of one store add to the same counts, also those who only read, at their end."""
    store, contents, another = opened
    filled(store)
    again = another()
    again.tally.add("m", "acme", True)
    again.close()
    made = contents()
    assert sum(row.hits for row in made.counts()) == 3
    made.close()


def test_counts_are_bounded(tmp_path):
    """A caller who makes up names adds no rows beyond the limit: the rest counts as one; no call is lost."""
    store = Sqlite(tmp_path / "cache.db")
    for turn in range(MOST_ROWS + 500):
        store.tally.add(f"model-{turn}" + "x" * 500, "", hit=True)
        if turn % 100 == 0:
            store.put(key(1), entry("m"))
    store.close()
    contents = SqliteContents(tmp_path / "cache.db")
    rows = contents.counts()
    contents.close()
    assert len(rows) <= MOST_ROWS + 1
    assert sum(row.hits for row in rows) == MOST_ROWS + 500
    assert max(len(row.model) for row in rows) <= 128
    assert any(row.model == OTHERS for row in rows)


def test_counts_that_cannot_be_written_are_kept():
    """When writing fails, the next writer gets the same counts."""
    tally, written = Tally(), []
    tally.add("m", "", hit=True)

    def fails(_rows):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        tally.flush(fails)
    tally.add("m", "", hit=False)
    tally.flush(written.extend)
    tally.flush(written.extend)
    assert [row[2:] for row in written] == [(1, 1)]


def test_a_file_of_an_older_client_can_be_read(tmp_path):
    """Entries without a tenant count for nobody, and a file without counts has none."""
    store = Sqlite(tmp_path / "cache.db")
    store.put(key(1), entry("m"))
    store.close()
    with sqlite3.connect(tmp_path / "cache.db") as database:
        database.execute("DROP TABLE tally")
        database.execute("UPDATE entries SET value = CAST(replace(value, 'asked_model', 'unknown_one') AS BLOB)")
    contents = SqliteContents(tmp_path / "cache.db")
    assert [line[:3] for line in summary(contents, NOW)] == [("m-2026", "", 1)]
    contents.close()
