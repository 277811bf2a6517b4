"""Single-flight over real HTTP: in one process and among several."""

import asyncio
import threading
import time

import pytest

from depth import scaled
from tailrace import AsyncOpenAI, Cache, Limits, Policy, Retry, Sqlite, limits
from tailrace.client import DeadlineExceeded
from tailrace.client.drivers import asynchronous

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
QUICK = Retry(base_s=0.01, cap_s=0.05)


def test_cold_calls_at_once_are_one_request(simulator, key):
    """A stampede of identical calls reaches the provider once, retries included."""
    simulator.faults({"kind": "error500", "count": 1}, {"kind": "slow", "delay_s": 0.3})

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url, policy=Policy(retry=QUICK)) as client:
            answers = await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(scaled(1000, 200))))
        return {answer.model_dump_json() for answer in answers}

    assert len(asyncio.run(main())) == 1
    assert simulator.requests == 2  # the 500 and the answer


def test_without_coalescing_a_stampede_is_a_stampede(simulator, key):
    """Negative control: with single-flight turned off the same calls all go out."""
    simulator.faults({"kind": "slow", "delay_s": 0.3})

    async def main():
        async with AsyncOpenAI(
            api_key=key, base_url=simulator.url, policy=Policy(cache=Cache(coalesce=False))
        ) as client:
            await asyncio.gather(*(client.chat.completions.create(**ASK) for _ in range(20)))

    asyncio.run(main())
    assert simulator.requests == 20


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_leader_takes_nobodys_answer_away(simulator, key, stream):
    """The first caller is cancelled while the provider works; the others get the answer of that one request."""
    simulator.faults({"kind": "slow", "delay_s": 0.3})

    async def asked(client):
        answer = await client.chat.completions.create(**ASK, stream=stream)
        return len([chunk async for chunk in answer]) if stream else answer.choices[0].message.content

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url) as client:
            leader = asyncio.create_task(asked(client))
            await asyncio.sleep(0.1)
            followers = [asyncio.create_task(asked(client)) for _ in range(5)]
            await asyncio.sleep(0.05)
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            return await asyncio.gather(*followers)

    assert len(set(asyncio.run(main()))) == 1
    assert simulator.requests == 1


def test_who_comes_late_to_a_stream_gets_all_of_it(provider, make, key):
    """A reader who joins in the middle reads from the first byte, without a second request."""
    stream = make.answer(headers={"content-type": "text/event-stream"}, chunks=make.events(*"abcdefgh"), between_s=0.03)
    provider.usual = lambda seen: stream

    async def read(client):
        answer = await client.chat.completions.create(**ASK, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in answer])
        return answer.response.headers["x-tailrace-cache"], text

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url) as client:
            first = asyncio.create_task(read(client))
            await asyncio.sleep(0.12)
            return await asyncio.gather(first, read(client), read(client))

    assert asyncio.run(main()) == [("miss", "abcdefgh"), ("coalesced", "abcdefgh"), ("coalesced", "abcdefgh")]
    assert len(provider.seen) == 1


class TwoReaders:
    """Two readers of one stream, of whom one is hurried; the provider sends the second half when that one is late."""

    def __init__(self, provider, make, key, hurried):
        self.provider, self.make, self.key = provider, make, key
        self.hurried = 0 if hurried == "who began it" else 1
        self.middle = threading.Event()
        self.texts, self.ends, self.took_s = ["", ""], ["", ""], [0.0, 0.0]
        self.stall_s = 0.0
        """The longest time for which the provider's thread or the event loop did not get on."""
        provider.usual = lambda seen: make.answer(headers={"content-type": "text/event-stream"}, chunks=self._chunks())

    def run(self, hurried_s):
        """Let both read, the hurried one for `hurried_s`; return whether the machine was fast enough for that."""
        self.provider.seen.clear()
        self.middle.clear()
        self.texts, self.stall_s = ["", ""], 0.0
        asyncio.run(self._both(hurried_s))
        # a shared stream may not stand still for longer than its first caller had left
        return self.texts[self.hurried] == "abcd" and self.stall_s < hurried_s / 2

    def _chunks(self):
        yield from self.make.events(*"abcd", finish=None, done=False)
        before = time.monotonic()
        while not self.middle.wait(0.02):
            yield b": wait\n\n"
            before = self._got_on(before)
        yield from self.make.events(*"efgh")

    def _got_on(self, before):
        now = time.monotonic()
        self.stall_s = max(self.stall_s, now - before)
        return now

    async def _watch(self):
        now = time.monotonic()
        while True:
            await asyncio.sleep(0.02)
            now = self._got_on(now)

    async def _both(self, hurried_s):
        deadlines = (hurried_s, 99) if self.hurried == 0 else (99, hurried_s)
        async with AsyncOpenAI(api_key=self.key, base_url=self.provider.url) as client:
            watch, begun = asyncio.create_task(self._watch()), asyncio.Event()
            began = asyncio.create_task(self._read(client, 0, deadlines[0], begun))
            began.add_done_callback(lambda _: begun.set())
            await begun.wait()
            await asyncio.gather(began, self._read(client, 1, deadlines[1], begun))
            watch.cancel()

    async def _read(self, client, reader, deadline_s, begun):
        started, self.ends[reader] = time.monotonic(), "whole"
        try:
            with limits(deadline_s=deadline_s):
                async for chunk in await client.chat.completions.create(**ASK, stream=True):
                    self.texts[reader] += chunk.choices[0].delta.content or ""
                    begun.set()
        except DeadlineExceeded:
            self.ends[reader] = "late"
            self.middle.set()
        self.took_s[reader] = time.monotonic() - started


def check_deadlines(readers):
    """Assert that each keeps his own; a run is repeated with more time only if the machine was too slow for it."""
    hurried, other = readers.hurried, 1 - readers.hurried
    for hurried_s in (0.4, 1.6, 6.4, 25.6):
        fast = readers.run(hurried_s)
        assert readers.ends[hurried] == "late"
        assert readers.took_s[hurried] > hurried_s - 0.01
        assert "abcd".startswith(readers.texts[hurried])
        if fast:
            break
    assert fast, f"the first half took more than {hurried_s} s, or something stood still for {readers.stall_s:.1f} s"
    assert readers.ends[other] == "whole"
    assert readers.texts[other] == "abcdefgh"
    assert len(readers.provider.seen) == 1


@pytest.mark.parametrize("hurried", ["who began it", "who joined it"])
def test_each_reader_of_a_stream_keeps_a_deadline_of_his_own(provider, make, key, hurried):
    """A reader without time left gets DeadlineExceeded in the middle; the other gets all of it, from one request."""
    check_deadlines(TwoReaders(provider, make, key, hurried))


def test_a_reader_without_a_deadline_of_his_own_is_found_in_the_first_run(provider, make, key, monkeypatch):
    """Negative control: all readers have the deadline of who began it. That is no reason for another run."""
    monkeypatch.setattr(asynchronous, "_for_many", lambda meter, _now: meter)
    readers = TwoReaders(provider, make, key, "who began it")
    runs, run = [], readers.run
    monkeypatch.setattr(readers, "run", lambda hurried_s: runs.append(run(hurried_s)) or runs[-1])
    with pytest.raises(AssertionError, match="whole"):
        check_deadlines(readers)
    assert runs == [False] * (len(runs) - 1) + [True]


def test_a_shared_stream_that_stands_still_is_given_up(provider, make, key):
    """It ends after the time that its first caller had left, and gives back what it held."""
    stream = make.answer(headers={"content-type": "text/event-stream"}, chunks=make.events(*"ab"), between_s=3)
    provider.usual = lambda seen: stream
    policy = Policy(limits=Limits(concurrency=1))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            with limits(deadline_s=0.3):
                answer = await client.chat.completions.create(**ASK, stream=True)
                with pytest.raises(DeadlineExceeded):
                    [chunk async for chunk in answer]
            await asyncio.sleep(0.5)
            return client._client._transport.driver.pipeline.fetcher.attempts.permits.in_flight

    assert asyncio.run(main()) == 0


def test_a_leaders_deadline_is_not_the_followers(simulator, key):
    """When the first caller's deadline passes, a waiting caller with time left sends the request and is answered."""
    simulator.faults({"kind": "slow", "delay_s": 0.4})

    async def asked(client, deadline_s):
        with limits(deadline_s=deadline_s):
            return await client.chat.completions.create(**ASK)

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url) as client:
            leader = asyncio.create_task(asked(client, 0.2))
            await asyncio.sleep(0.05)
            follower = asyncio.create_task(asked(client, 5))
            with pytest.raises(DeadlineExceeded):
                await leader
            return await follower

    assert asyncio.run(main()).choices


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_processes_that_share_a_store_ask_once(provider, make, key, tmp_path, request, kind):
    """Independent clients on one SQLite file or one Redis make one request for one question."""
    from tailrace.client.stores.redis import Redis

    def opened():
        return Sqlite(tmp_path / "c.db") if kind == "sqlite" else Redis(request.getfixturevalue("redis_url"))

    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.3)

    async def main():
        stores = [opened() for _ in range(3)]
        clients = [
            AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) for store in stores
        ]
        answers = await asyncio.gather(*(c.chat.completions.with_raw_response.create(**ASK) for c in clients))
        for client, store in zip(clients, stores, strict=True):
            await client.close()
            store.close()
        return sorted(answer.headers["x-tailrace-cache"] for answer in answers)

    assert asyncio.run(main()) == ["coalesced", "coalesced", "miss"]
    assert len(provider.seen) == 1
