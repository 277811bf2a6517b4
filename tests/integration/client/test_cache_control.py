"""The caller's cache-control holds on every way to an answer."""

import asyncio
import threading
import time

import pytest

from tailrace import AsyncOpenAI, Cache, Fallback, Memory, OpenAI, Policy, Sqlite

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def asked(client, wish=None, **more):
    """Return the cache label and the answer of a call."""
    headers = {"cache-control": wish} if wish else {}
    raw = client.chat.completions.with_raw_response.create(**ASK, extra_headers=headers, **more)
    return raw.headers["x-tailrace-cache"], raw.parse().choices[0].message.content


def until(true):
    """Wait until `condition` holds, some seconds at most."""
    latest = time.monotonic() + 60
    while not true() and time.monotonic() < latest:
        time.sleep(0.01)
    assert true()


def numbered(make, delay_s=0.0):
    """Answer with "1", "2", …"""
    count = iter(range(1, 100))
    return lambda seen: make.answer(body=make.completion(str(next(count))), delay_s=delay_s)


@pytest.mark.parametrize(("wish", "got"), [("max-age=1", "2"), ("max-age=3600", "1")])
def test_who_waits_for_another_process_gets_nothing_older_than_wanted(provider, make, key, tmp_path, wish, got):
    """Of two clients on one file one fetches; the other waits for that answer, and does not get the old one."""
    provider.usual = numbered(make)
    first, second = (
        OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=Sqlite(tmp_path / "llm.db"))))
        for _ in range(2)
    )
    with first, second:
        assert asked(first) == ("miss", "1")
        time.sleep(1.1)
        provider.usual = numbered(make, 1.0)
        provider.usual(None)
        found = []
        other = threading.Thread(target=lambda: found.append(asked(first, "max-age=1")))
        other.start()
        until(lambda: len(provider.seen) == 2)
        label, text = asked(second, wish)
        other.join()
    assert found == [("miss", "2")]
    assert (label, text) == ("coalesced" if got == "2" else "hit", got)
    assert len(provider.seen) == 2, "one fetched for both"


@pytest.mark.parametrize(("wish", "got"), [("max-age=1", "2"), ("no-cache", "2"), ("max-age=3600", "1"), (None, "1")])
def test_the_wish_holds_for_a_fallbacks_answer_too(provider, make, key, wish, got):
    """The first choice fails; a stored answer of the fallback is given only to a caller who accepts its age."""
    good = numbered(make)
    provider.usual = lambda seen: make.answer(500, b"{}") if seen.json["model"] == ASK["model"] else good(seen)
    policy = Policy(retry=None, fallbacks=(Fallback(model="gpt-4o"),))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        assert asked(client)[1] == "1"
        time.sleep(1.1)
        assert asked(client, wish)[1] == got


class Ageing(Memory):
    """A store whose entries can be made older."""

    def age(self, seconds):
        for key, (entry, size) in self._entries.items():
            older = entry._replace(stored_at=entry.stored_at - seconds, expires_at=entry.expires_at - seconds)
            self._entries[key] = older, size


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
@pytest.mark.parametrize("swr_s", [60, 0])
def test_what_is_old_is_made_new_behind_the_call(provider, key, kind, stream, swr_s):
    """Streams too, with threads and asyncio: first the old answer, then the new one, and every fetch completes.

    Negative control: without stale-while-revalidate the call itself fetches.
    """
    rows, store = [], Ageing()
    policy = Policy(cache=Cache(store=store, ttl_s=60, stale_while_revalidate_s=swr_s), hooks=(rows.append,))
    written = [0, 1, 2, 3 + bool(swr_s)]  # rows before each call; a fetch behind the calls has one of its own

    def settled(number):
        until(lambda: len(rows) == written[number])
        if number == 2:
            store.age(61)

    async def asynchronous():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            for number in range(4):
                await asyncio.to_thread(settled, number)
                async with client.chat.completions.with_streaming_response.create(**ASK, stream=stream) as response:
                    yield response.headers["x-tailrace-cache"], await response.read()

    def synchronous():
        with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            for number in range(4):
                settled(number)
                with client.chat.completions.with_streaming_response.create(**ASK, stream=stream) as response:
                    yield response.headers["x-tailrace-cache"], response.read()

    async def gathered():
        return [one async for one in asynchronous()]

    found = list(synchronous()) if kind is OpenAI else asyncio.run(gathered())
    assert [label for label, _ in found] == ["miss", "hit", *(["stale", "hit"] if swr_s else ["miss", "hit"])]
    assert len({body for _, body in found}) == 1, "the same bytes, each time"
    assert len(provider.seen) == 2
    assert {row.outcome for row in rows} == {"ok"}
