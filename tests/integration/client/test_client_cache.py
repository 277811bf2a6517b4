"""The cache over real HTTP: who shares an answer, who does not, and what is never kept."""

import asyncio
import gzip
import json
import threading

import httpx2
import openai
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailrace import AsyncOpenAI, Cache, Memory, OpenAI, Policy, Retry, Sqlite, limits
from tailrace.client import AsyncDriver, wire
from tailrace.client.clock import Clock
from tailrace.client.senders.aiohttp import AiohttpSender

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def labels(client, times=2, **change):
    return [client.chat.completions.with_raw_response.create(**{**ASK, **change}).headers["x-tailrace-cache"]
            for _ in range(times)]  # fmt: skip


def test_the_same_question_is_asked_once(provider, key):
    """A hit is the same object to the caller, costs no request, and says so."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        first, second = (client.chat.completions.create(**ASK) for _ in range(2))
        raw = client.chat.completions.with_raw_response.create(**ASK)
    assert first == second == raw.parse()
    assert first._request_id == second._request_id == "req_1"
    assert {name: raw.headers[name] for name in raw.headers if name.startswith("x-tailrace-")} == {
        "x-tailrace-cache": "hit", "x-tailrace-attempts": "0", "x-tailrace-backoff-us": "0",
        "x-tailrace-cost-microusd": "0"}  # fmt: skip
    assert len(provider.seen) == 1


def test_a_hit_is_the_callers_own(provider, key):
    """Changing an answer changes nobody else's."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for _ in range(3):
            answer = client.chat.completions.create(**ASK)
            assert answer.choices[0].message.content != "changed"
            answer.choices[0].message.content = "changed"


def test_every_surface_gets_the_same_hit(provider, key):
    """Raw, streaming-response and parsed access all read the one stored answer."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        plain = client.chat.completions.create(**ASK)
        with client.chat.completions.with_streaming_response.create(**ASK) as streamed:
            assert streamed.headers["x-tailrace-cache"] == "hit"
            assert streamed.parse() == plain
        assert client.with_options(timeout=5).chat.completions.create(**ASK) == plain
        assert client.with_raw_response.chat.completions.create(**ASK).parse() == plain
    assert len(provider.seen) == 1


CHANGES = [{"model": "gpt-4o"}, {"seed": 1}, {"top_p": 0.5}, {"max_tokens": 9}, {"user": "u"}, {"n": 2},
           {"messages": [{"role": "system", "content": "hi"}]}, {"extra_body": {"top_k": 50}},
           {"extra_query": {"v": "2"}}, {"extra_headers": {"x-variant": "b"}}]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=[next(iter(change)) for change in CHANGES])
def test_any_other_question_is_another(provider, key, change):
    """No argument, known to the SDK or not, is left out of the key."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        plain = client.chat.completions.create(**ASK).choices[0].message.content
        assert labels(client, **change) == ["miss", "hit"]
        if "extra_headers" not in change:
            assert client.chat.completions.create(**{**ASK, **change}).choices[0].message.content != plain


def test_credentials_and_tenants_never_share(provider, key):
    """Two keys, two organisations and two tenants on one store are asked for one by one."""
    policy = Policy(cache=Cache(store=Memory()))
    for arguments in ({"api_key": key}, {"api_key": key + "2"}, {"api_key": key, "organization": "o"},
                      {"api_key": key, "project": "p"}):  # fmt: skip
        with OpenAI(base_url=provider.url, policy=policy, **arguments) as client:
            for tenant in ("", "acme", "other"):
                with limits(tenant=tenant):
                    assert labels(client) == ["miss", "hit"]
    assert len(provider.seen) == 12


def test_the_short_way_notices_that_the_client_changed(provider, key):
    """A key, an organisation or a base URL that is changed on the client changes what is answered at once."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for change in (lambda: None, lambda: setattr(client, "api_key", key + "2"),
                       lambda: setattr(client, "organization", "o"),
                       lambda: setattr(client, "base_url", provider.url + "/other")):  # fmt: skip
            change()
            before = len(provider.seen)
            for _ in range(3):
                client.chat.completions.create(**ASK)
            assert len(provider.seen) == before + 1


def test_the_short_way_is_not_fooled_by_nan(provider, key):
    """None and NaN look alike to some; they are not the same call."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for _ in range(3):
            client.chat.completions.create(**ASK, top_p=None)
        with pytest.raises(Exception):  # noqa: B017, PT011
            client.chat.completions.create(**ASK, top_p=float("nan"))


NEVER = {
    "not deterministic": ({"temperature": 1}, {}),
    "temperature not given": ({"temperature": openai.omit}, {}),
    "cut by length": ({}, {"finish": "length"}),
    "filtered": ({}, {"finish": "content_filter"}),
    "an error inside": ({}, {"error": {"message": "no"}}),
}


@pytest.mark.parametrize(("change", "answer"), NEVER.values(), ids=NEVER.keys())
def test_is_never_kept(provider, make, key, change, answer):
    """What is not a complete, deterministic answer is asked for again."""
    provider.usual = lambda seen: make.answer(body=make.completion(**answer))
    with OpenAI(api_key=key, base_url=provider.url) as client:
        assert "hit" not in labels(client, times=3, **change)
    assert len(provider.seen) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_an_error_is_never_kept(provider, make, key, status):
    """After an error the same question is asked again, and answered."""
    provider.answers = [make.answer(status, b'{"error": {"message": "no"}}')]
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(retry=None)) as client:
        with pytest.raises(openai.APIStatusError):
            client.chat.completions.create(**ASK)
        assert labels(client) == ["miss", "hit"]


def test_stream_hits_replay_every_byte(provider, key):
    """A stream is kept when its terminator has come, and comes again chunk by chunk, byte for byte."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        replies = []
        for _ in range(2):
            with client.chat.completions.with_streaming_response.create(**ASK, stream=True) as answer:
                replies.append((answer.headers["x-tailrace-cache"], list(answer.iter_bytes())))
        parsed = [[chunk.model_dump() for chunk in client.chat.completions.create(**ASK, stream=True)] for _ in "12"]
    assert [label for label, _ in replies] == ["miss", "hit"]
    assert b"".join(replies[0][1]) == b"".join(replies[1][1])
    assert parsed[0] == parsed[1]
    assert len(provider.seen) == 1


CUT = {
    "connection closed": {"done": False, "cut": True},
    "ended without terminator": {"done": False},
    "ended without reason": {"finish": None},
    "by length": {"finish": "length"},
}


@pytest.mark.parametrize("how", CUT.values(), ids=CUT.keys())
def test_a_cut_stream_is_never_kept(provider, make, key, how):
    """A stream that is not complete is never given to another."""
    how = dict(how)
    cut = how.pop("cut", False)
    answer = make.answer(headers={"content-type": "text/event-stream"}, chunks=make.events("a", "b", **how), cut=cut)
    provider.usual = lambda seen: answer
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for _ in range(2):
            stream = client.chat.completions.create(**ASK, stream=True)
            assert stream.response.headers["x-tailrace-cache"] == "miss"
            try:
                list(stream)
            except openai.APIConnectionError:
                assert cut
    assert len(provider.seen) == 2


def test_a_stream_that_is_left_is_not_kept_unless_it_was_over(provider, make, key):
    """Leaving in the middle keeps nothing; reading to the terminator and leaving then keeps it."""

    async def main():
        async with AsyncOpenAI(
            api_key=key, base_url=provider.url, policy=Policy(cache=Cache(coalesce=False))
        ) as client:
            stream = await client.chat.completions.create(**ASK, stream=True)
            await anext(stream)
            await stream.close()
            for _ in range(2):
                stream = await client.chat.completions.create(**ASK, stream=True)
                assert len([chunk async for chunk in stream]) == 3
                yield stream.response.headers["x-tailrace-cache"]

    async def collected():
        return [label async for label in main()]

    provider.usual = lambda seen: make.answer(
        headers={"content-type": "text/event-stream"}, chunks=make.events("a", "b"), between_s=0.01
    )
    assert asyncio.run(collected()) == ["miss", "hit"]


def test_the_callers_cache_control_is_followed(provider, key):
    """`no-store` passes by, `no-cache` fetches anew and keeps it, `max-age` opts in and bounds the age."""

    def label(value, **change):
        answer = client.chat.completions.with_raw_response.create(
            **{**ASK, **change}, extra_headers={"cache-control": value}
        )
        return answer.headers["x-tailrace-cache"]

    with OpenAI(api_key=key, base_url=provider.url) as client:
        assert [label("no-store"), label("no-store")] == ["bypass", "bypass"]
        assert labels(client) == ["miss", "hit"]
        assert [label("no-cache"), label("max-age=60"), label("max-age=0")] == ["miss", "hit", "miss"]
        assert [label("max-age=60", temperature=1), label("max-age=60", temperature=1)] == ["miss", "hit"]
        assert label("max-age=60", temperature=0.9) == "miss"


def test_a_default_header_that_forbids_the_cache_is_followed(provider, key):
    """`cache-control: no-cache` set once on the client holds for every call, the short way included."""
    headers = {"Cache-Control": "no-cache"}
    with OpenAI(api_key=key, base_url=provider.url, default_headers=headers) as client:
        for _ in range(3):
            client.chat.completions.create(**ASK)
    assert len(provider.seen) == 3


def test_stale_answers_are_given_as_the_policy_says(provider, make, key):
    """While revalidating, the old one comes at once and a new one is fetched once; on errors, the old one comes."""

    async def main():
        now = [1000.0]
        cache = Cache(ttl_s=10, stale_while_revalidate_s=10, stale_if_error_s=100)
        async with AiohttpSender() as send:
            driver = AsyncDriver(Policy(cache=cache, retry=None), send, clock=Clock(wall=lambda: now[0]))
            body = orjson.dumps(ASK)
            asked = wire.Request("POST", f"{provider.url}/chat/completions", (), body)

            async def label():
                response = await driver(asked)
                return response.status, wire.header(response.headers, wire.CACHE)

            yield await label()
            now[0] += 11
            yield [await label() for _ in range(3)]
            for _ in range(500):  # until the revalidation is over
                if len(provider.seen) == 2 and not driver._flights._under_way:
                    break
                await asyncio.sleep(0.01)
            yield await label()
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
    """An entry from the future, or from long ago by a jump, is fetched anew, and then hit again."""

    async def main():
        now = [1_000_000.0]
        async with AiohttpSender() as send:
            driver = AsyncDriver(Policy(cache=Cache(ttl_s=60)), send, clock=Clock(wall=lambda: now[0]))
            asked = wire.Request("POST", f"{provider.url}/chat/completions", (), orjson.dumps(ASK))
            found = []
            for _ in range(2):
                found += [wire.header((await driver(asked)).headers, wire.CACHE) for _ in range(2)]
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
    """Wherever the store breaks, every call is answered, and the log says that the cache is gone."""
    policy = Policy(cache=Cache(store=Broken(after)))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for _ in range(9):
            answer = client.chat.completions.create(**ASK, stream=stream)
            assert not stream or len(list(answer)) == 3
    assert "goes on without it" in caplog.text


def test_compressed_answers_are_kept_as_they_read(provider, make, key):
    """An answer that came compressed is given again readable, by the SDK and by the service's driver."""
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    provider.usual = lambda seen: make.answer(body=gzip.compress(make.completion("packed")), headers=headers)
    with OpenAI(api_key=key, base_url=provider.url) as client:
        texts = [client.chat.completions.with_raw_response.create(**ASK) for _ in range(2)]
    assert [text.parse().choices[0].message.content for text in texts] == ["packed", "packed"]
    assert all("content-encoding" not in text.headers for text in texts)


def test_cookies_are_not_kept(provider, make, key):
    """What belongs to the moment of an answer is not given to others with it."""
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
    """A second client on the same file hits what the first one fetched, asynchronously too."""
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


def test_ten_thousand_random_requests_never_hit_anothers_answer():
    """Whatever is asked, by whomever, in whatever order: the answer is the answer to that, hit or not."""
    counts = {"asked": 0, "sent": 0}
    policy = Policy(cache=Cache(store=Memory(max_bytes=64 << 20)))

    async def send(request):
        counts["sent"] += 1
        text = json.dumps(
            [request.url, wire.header(request.headers, "authorization"), orjson.loads(request.body)], sort_keys=True
        )
        answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}]}
        return wire.Response(200, (("content-type", "application/json"),), orjson.dumps(answer))

    @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
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
    assert counts["asked"] >= 10_000
    assert counts["sent"] < counts["asked"], "negative control: there have to be hits among them"


def test_clients_of_a_stock_sdk_compose(provider, key):
    """The transports are public: a stock client, Azure's, and one on a plain httpx2 transport go through the policy."""
    from tailrace import async_transport, transport

    with httpx2.Client(transport=transport(Policy())) as http:
        client = openai.OpenAI(api_key=key, base_url=provider.url, http_client=http, max_retries=0)
        assert labels(client) == ["miss", "hit"]
        azure = openai.AzureOpenAI(api_key=key, azure_endpoint=provider.url, api_version="v", http_client=http)
        assert labels(azure) == ["miss", "hit"]
    assert "/openai/deployments/gpt-4o-mini/chat/completions?api-version=v" in provider.seen[-1].path

    async def main():
        from openai._base_client import DefaultAioHttpClient

        async with (
            DefaultAioHttpClient() as aio,
            httpx2.AsyncClient(transport=async_transport(Policy(), aio._transport)) as http,
        ):
            client = openai.AsyncOpenAI(api_key=key, base_url=provider.url, http_client=http, max_retries=0)
            return [
                (await client.chat.completions.with_raw_response.create(**ASK)).headers["x-tailrace-cache"]
                for _ in "12"
            ]

    assert asyncio.run(main()) == ["miss", "hit"]


def test_threads_that_ask_at_once_ask_once(provider, make, key):
    """Of 16 threads with the same question one asks; the others get its answer."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.2)
    found = []
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(retry=Retry())) as client:
        threads = [threading.Thread(target=lambda: found.extend(labels(client, times=1))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(provider.seen) == 1
    assert sorted(set(found)) in (["coalesced", "miss"], ["coalesced", "hit", "miss"])
