"""Who shares an answer, and who does not, over real HTTP."""

import asyncio
import threading

import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, Cache, Memory, OpenAI, Policy, Retry, limits

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


def test_a_call_is_what_it_was_when_it_was_made(provider, make, key):
    """Changing the messages during the call changes neither what is sent nor what is remembered."""
    text = "before"

    def answer(seen):
        return make.answer(body=make.completion(seen.json["messages"][0]["content"]), delay_s=0.2)

    async def main():
        provider.usual = answer
        asked = {**ASK, "messages": [{"role": "user", "content": text}]}
        async with AsyncOpenAI(api_key=key, base_url=provider.url) as client:
            call = asyncio.create_task(client.chat.completions.create(**asked))
            await asyncio.sleep(0.1)
            asked["messages"][0]["content"] = "after"
            first = await call
            after = await client.chat.completions.create(**asked)
            asked["messages"][0]["content"] = text
            again = await client.chat.completions.create(**asked)
            return [one.choices[0].message.content for one in (first, after, again)]

    assert asyncio.run(main()) == [text, "after", text]
    assert len(provider.seen) == 2


def test_a_new_answer_is_read_anew(provider, make, key):
    """When the store has other bytes than before, those are what a hit gives, by the short way as well."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for text in ("one", "two"):
            provider.usual = lambda seen, text=text: make.answer(body=make.completion(text))
            client.chat.completions.create(**ASK, extra_headers={"cache-control": "no-cache"})
            found = [client.chat.completions.create(**ASK).choices[0].message.content for _ in range(3)]
            assert found == [text] * 3
    assert len(provider.seen) == 2


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
