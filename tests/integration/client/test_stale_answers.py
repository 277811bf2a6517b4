"""Stored answers as they age, and when their store fails, over real HTTP."""

import asyncio
import gzip
import json

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depth import scaled
from tailrace import AsyncOpenAI, Cache, Memory, OpenAI, Policy, Sqlite, limits
from tailrace.client import AsyncDriver, wire
from tailrace.client.clock import Clock
from tailrace.client.senders.aiohttp import AiohttpSender
from tailrace.headers import CACHE

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def test_stale_answers_are_given_as_the_policy_says(provider, make, key):
    """While revalidating, the old answer comes at once and one new one is fetched; on errors the old one comes."""

    async def main():
        now = [1000.0]
        cache = Cache(ttl_s=10, stale_while_revalidate_s=10, stale_if_error_s=100)
        async with AiohttpSender() as send:
            driver = AsyncDriver(Policy(cache=cache, retry=None), send, clock=Clock(wall=lambda: now[0]))
            body = orjson.dumps(ASK)
            asked = wire.Request("POST", f"{provider.url}/chat/completions", (), body)

            async def label():
                response = await driver(asked)
                return response.status, wire.header(response.headers, CACHE)

            yield await label()
            now[0] += 11
            yield [await label() for _ in range(3)]
            for _ in range(500):  # until the revalidation is over
                if len(provider.seen) == 2 and not driver._single_flight:
                    break
                await asyncio.sleep(0.01)
            yield await label()
            assert len(provider.seen) == 2, "the new one was fetched once"
            now[0] += 50
            provider.usual = lambda seen: make.answer(500, b"{}")
            yield await label()
            provider.usual = lambda seen: make.answer(cut=True)
            yield await label()
            provider.usual = lambda seen: make.answer(400, b"{}")
            yield await label()
            provider.usual = lambda seen: make.answer(500, b"{}")
            now[0] += 1000
            yield await label()
            await driver.aclose()

    async def collected():
        return [item async for item in main()]

    stale = (200, "stale")
    assert asyncio.run(collected()) == [
        (200, "miss"), [stale] * 3, (200, "hit"), stale, stale, (400, "miss"), (500, "miss")]  # fmt: skip


@pytest.mark.parametrize("jump_s", [-86_400.0, -3600.0, 86_400.0])
def test_a_clock_that_jumps_makes_misses_and_nothing_worse(provider, jump_s):
    """After the clock jumps either way the answer is fetched again, and then hit again."""

    async def main():
        now = [1_000_000.0]
        async with AiohttpSender() as send:
            driver = AsyncDriver(Policy(cache=Cache(ttl_s=60)), send, clock=Clock(wall=lambda: now[0]))
            asked = wire.Request("POST", f"{provider.url}/chat/completions", (), orjson.dumps(ASK))
            found = []
            for _ in range(2):
                found += [wire.header((await driver(asked)).headers, CACHE) for _ in range(2)]
                now[0] += jump_s
            return found

    assert asyncio.run(main()) == ["miss", "hit", "miss", "hit"]


class Broken(Memory):
    """A store that fails from the `after`th operation on."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise OSError("disk on fire")

    def get(self, key, now):
        self._count()
        return super().get(key, now)

    def put(self, key, entry):
        self._count()
        super().put(key, entry)

    def lease(self, key, now, seconds):
        self._count()
        return True

    def release(self, key):
        self._count()


@pytest.mark.parametrize("after", range(8))
@pytest.mark.parametrize("stream", [False, True])
def test_a_store_that_fails_in_the_middle_fails_no_call(provider, key, caplog, after, stream):
    """Whenever the store fails, every call is answered, and the log says that the cache failed."""
    policy = Policy(cache=Cache(store=Broken(after)))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for _ in range(9):
            answer = client.chat.completions.create(**ASK, stream=stream)
            assert not stream or len(list(answer)) == 3
    assert "go on without it" in caplog.text
    assert len(caplog.records) <= 4, "said once for each thing that failed, not for each call"


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_store_that_is_not_there_is_named(provider, key, tmp_path, caplog, kind):
    """With a folder as file, or no Redis, calls are answered, and the log names the store but no password."""
    from tailrace.client.stores.redis import Redis

    store = Sqlite(tmp_path) if kind == "sqlite" else Redis("redis://me:hush@127.0.0.1:9/0")
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) as client:
        for _ in range(5):
            assert client.chat.completions.create(**ASK).choices
    store.close()
    place = repr(str(tmp_path)) if kind == "sqlite" else "'redis://127.0.0.1:9/0'"
    assert f"the cache {kind.capitalize()}({place}) could not be read" in caplog.text
    assert "hush" not in caplog.text
    assert len(caplog.records) == 4


@pytest.mark.parametrize("after", range(6))
def test_a_store_that_fails_fails_no_call_of_a_loop(provider, key, after):
    """The same with asyncio, for a store that is read on the loop and for one that is read in a thread."""

    async def main(slow):
        store = Broken(after)
        store.slow_get = store.slow_put = store.shared = slow
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) as client:
            for _ in range(5):
                assert (await client.chat.completions.create(**ASK)).choices
        assert store.left < 0, "negative control: it did fail"

    for slow in (False, True):
        asyncio.run(main(slow))


def test_compressed_answers_are_kept_as_they_read(provider, make, key):
    """A compressed answer is stored decoded, with the SDK and with the service's driver."""
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    provider.usual = lambda seen: make.answer(body=gzip.compress(make.completion("packed")), headers=headers)
    with OpenAI(api_key=key, base_url=provider.url) as client:
        texts = [client.chat.completions.with_raw_response.create(**ASK) for _ in range(2)]
    assert [text.parse().choices[0].message.content for text in texts] == ["packed", "packed"]
    assert all("content-encoding" not in text.headers for text in texts)


def test_cookies_are_not_kept(provider, make, key):
    """Cookies belong to the first caller and are not replayed."""
    headers = {"set-cookie": "session=1", "x-ratelimit-remaining-requests": "9", "x-request-id": "r"}
    provider.usual = lambda seen: make.answer(body=make.completion(), headers=headers)
    with OpenAI(api_key=key, base_url=provider.url) as client:
        client.chat.completions.create(**ASK)
        client._client.cookies.clear()
        hit = client.chat.completions.with_raw_response.create(**ASK)
    assert hit.headers["x-tailrace-cache"] == "hit"
    assert "set-cookie" not in hit.headers
    assert "x-ratelimit-remaining-requests" not in hit.headers
    assert hit.headers["x-request-id"] == "r"


def test_sqlite_keeps_answers_for_the_next_process(provider, key, tmp_path):
    """A second client on the same file hits the first one's answers, with asyncio too."""
    for _ in range(2):
        store = Sqlite(tmp_path / "c.db")
        with OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) as client:
            client.chat.completions.create(**ASK)
        store.close()

    async def main():
        store = Sqlite(tmp_path / "c.db")
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) as client:
            for _ in range(2):
                await client.chat.completions.create(**ASK)
            answer = await client.chat.completions.with_raw_response.create(**ASK)
        store.close()
        return answer.headers["x-tailrace-cache"]

    assert asyncio.run(main()) == "hit"
    assert len(provider.seen) == 1, "the synchronous form and the asynchronous one ask the same question"


small = st.dictionaries(
    st.sampled_from("abcd"), st.none() | st.booleans() | st.integers(0, 2) | st.just(1.0) | st.just("1")
)
requests = st.tuples(
    st.sampled_from(["/v1/chat/completions", "/v1/chat/completions?a=1"]), st.sampled_from(["Bearer 1", "Bearer 2"]),
    st.sampled_from(["", "t1", "t2"]), small, st.booleans(),
)  # fmt: skip


def test_random_requests_never_hit_anothers_answer():
    """Every caller gets the answer to his own question, in any order, hit or not."""
    counts = {"asked": 0, "sent": 0}
    policy = Policy(cache=Cache(store=Memory(max_bytes=64 << 20)))

    async def send(request):
        counts["sent"] += 1
        text = json.dumps(
            [request.url, wire.header(request.headers, "authorization"), orjson.loads(request.body)], sort_keys=True
        )
        answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}]}
        return wire.Response(200, (("content-type", "application/json"),), orjson.dumps(answer))

    @settings(max_examples=scaled(250, 30), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(st.lists(requests, min_size=40, max_size=60))
    def law(batch):
        async def main():
            driver = AsyncDriver(policy, send)
            for url, credential, tenant, extra, turned in batch:
                document = {"temperature": 0, "model": "m", **extra}
                body = orjson.dumps(dict(reversed(document.items())) if turned else document)
                counts["asked"] += 1
                with limits(tenant=tenant):
                    asked = wire.Request("POST", f"http://h{url}", (("authorization", credential),), body)
                    got = orjson.loads((await driver(asked)).body)
                expected = json.dumps([f"http://h{url}", credential, document], sort_keys=True)
                assert got["choices"][0]["message"]["content"] == expected

        asyncio.run(main())

    law()
    assert counts["asked"] >= scaled(10_000, 1_200)
    assert counts["sent"] < counts["asked"], "negative control: there have to be hits among them"
