"""Processes on one SQLite file: one request for one question, and no blocked event loop."""

import asyncio
import sqlite3
import subprocess
import sys
import time

import pytest

from depth import scaled
from tailrace import AsyncOpenAI, Cache, Policy, Sqlite

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
ASKER = """
import sys
from tailrace import Cache, OpenAI, Policy, Sqlite
url, path, key, coalesce = sys.argv[1:]
store = Sqlite(path)
with OpenAI(api_key=key, base_url=url, policy=Policy(cache=Cache(store=store, coalesce=coalesce == "yes"))) as client:
    store.get("nothing", 0)
    print("ready", flush=True)
    sys.stdin.readline()
    answer = client.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", temperature=0, messages=[{"role": "user", "content": "hi"}])
    print(answer.headers["x-tailrace-cache"], answer.parse().choices[0].message.content)
store.close()
"""
HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    database.execute(statement)
print("held", flush=True)
sys.stdin.readline()
"""


def started(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


NUMBER = scaled(4, 2)


def results_of_processes(url, path, key, coalesce):
    """Return the labels and texts of processes that send the same request at the same moment."""
    askers = [started(ASKER, url, str(path), key, coalesce) for _ in range(NUMBER)]
    for asker in askers:
        assert asker.stdout.readline() == "ready\n"
    for asker in askers:
        asker.stdin.write("go\n")
        asker.stdin.flush()
    results = [asker.communicate(timeout=60)[0].split(" ", 1) for asker in askers]
    assert [asker.returncode for asker in askers] == [0] * NUMBER
    return sorted(label for label, _ in results), {text for _, text in results}


def test_processes_of_the_system_ask_once(provider, make, key, tmp_path):
    """Processes with the same question on one file make one request, and all get its answer."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=1.0)
    labels, texts = results_of_processes(provider.url, tmp_path / "c.db", key, "yes")
    assert labels == ["coalesced"] * (NUMBER - 1) + ["miss"]
    assert len(texts) == len(provider.seen) == 1


def test_without_the_lease_each_of_them_asks(provider, make, key, tmp_path):
    """Negative control: without the lease, each of the same processes makes a request."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=1.0)
    labels, _ = results_of_processes(provider.url, tmp_path / "c.db", key, "no")
    assert labels == ["miss"] * NUMBER
    assert len(provider.seen) == NUMBER


async def stood_s(work):
    """Return the longest time that `work` blocked the event loop."""
    longest, over = 0.0, asyncio.Event()

    async def look():
        nonlocal longest
        while not over.is_set():
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - began - 0.005)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0.02)
    await work
    over.set()
    await looking
    return longest


HELD = {"for writing": ["BEGIN IMMEDIATE"], "altogether": ["PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"]}


@pytest.mark.parametrize("statements", HELD.values(), ids=HELD.keys())
def test_a_file_that_another_process_holds_does_not_stop_the_loop(provider, key, tmp_path, statements):
    """While another process holds the file, calls are answered and the event loop is not blocked."""
    path = tmp_path / "c.db"
    if "BEGIN IMMEDIATE" in statements:
        store = Sqlite(path)
        store.release("nothing")  # makes the file
        store.close()

    async def main():
        store = Sqlite(path, busy_s=2.0)
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) as client:

            async def calls():
                asked = [client.chat.completions.create(**ASK, seed=number % 3) for number in range(9)]
                assert all(answer.choices for answer in await asyncio.gather(*asked))

            stood = await stood_s(calls())
        store.close()
        return stood

    with started(HOLDER, str(path), *statements) as holder:
        assert holder.stdout.readline() == "held\n"
        began = time.perf_counter()
        stood = asyncio.run(main())
        took = time.perf_counter() - began
        holder.stdin.write("go\n")
        holder.stdin.flush()
    assert 1.9 < took < 12, "negative control: one did wait for the file, and the others did not wait in a queue"
    assert stood < 1.5


def test_waiting_on_the_loop_would_be_seen(tmp_path):
    """Negative control: the same measurement detects a store that waits for the file on the loop."""
    path = tmp_path / "c.db"

    async def waiting():
        with sqlite3.connect(path, timeout=0.6) as database, pytest.raises(sqlite3.OperationalError):
            database.execute("SELECT * FROM sqlite_master").fetchall()
        database.close()

    with started(HOLDER, str(path), *HELD["altogether"]) as holder:
        assert holder.stdout.readline() == "held\n"
        assert asyncio.run(stood_s(waiting())) > 0.4
        holder.stdin.write("go\n")
        holder.stdin.flush()
