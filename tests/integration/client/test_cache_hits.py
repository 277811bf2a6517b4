"""Cache hits: who shares an answer and who does not, over real HTTP."""

import asyncio
import signal
import subprocess
import sys
import threading
import time

import httpx2
import openai
import pytest

from tailrace import Cache, Memory, OpenAI, Policy, Retry, limits

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def labels(client, times=2, **change):
    return [client.chat.completions.with_raw_response.create(**{**ASK, **change}).headers["x-tailrace-cache"]
            for _ in range(times)]  # fmt: skip


def test_the_same_question_is_asked_once(provider, key):
    """A hit equals the first answer, sends no request, and is labelled as a hit."""
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
    """Changing an answer does not change another caller's."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for _ in range(3):
            answer = client.chat.completions.create(**ASK)
            assert answer.choices[0].message.content != "changed"
            answer.choices[0].message.content = "changed"


def test_every_surface_gets_the_same_hit(provider, key):
    """Raw, streaming-response and parsed access all read the stored answer."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        plain = client.chat.completions.create(**ASK)
        with client.chat.completions.with_streaming_response.create(**ASK) as streamed:
            assert streamed.headers["x-tailrace-cache"] == "hit"
            assert streamed.parse() == plain
        assert client.with_options(timeout=60).chat.completions.create(**ASK) == plain
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
    """Two keys, two organisations or two tenants on one store do not share answers."""
    policy = Policy(cache=Cache(store=Memory()))
    for arguments in ({"api_key": key}, {"api_key": key + "2"}, {"api_key": key, "organization": "o"},
                      {"api_key": key, "project": "p"}):  # fmt: skip
        with OpenAI(base_url=provider.url, policy=policy, **arguments) as client:
            for tenant in ("", "acme", "other"):
                with limits(tenant=tenant):
                    assert labels(client) == ["miss", "hit"]
    assert len(provider.seen) == 12


def test_clients_of_a_stock_sdk_compose(provider, key):
    """A stock client, Azure's, and one on a plain httpx2 transport go through the policy by our transports."""
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
    """Of 16 threads with the same question one sends a request; the others get its answer."""
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


def said(client):
    return client.chat.completions.create(**ASK).choices[0].message.content


def test_a_waiter_who_is_interrupted_lets_the_others_go_on(provider, make, key):
    """Ctrl-C at the moment of the answer: the other waiting threads get the answer, and do not hang."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.4)

    class Interrupting(dict):
        def __delitem__(self, key):
            super().__delitem__(key)
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with OpenAI(api_key=key, base_url=provider.url) as client:
        client._client._transport.driver._under_way = Interrupting()
        found = []
        threads = [threading.Thread(target=lambda: found.append(said(client)), daemon=True) for _ in range(5)]
        threads[0].start()
        time.sleep(0.1)
        later = threading.Timer(0.1, lambda: [thread.start() for thread in threads[1:]])
        later.start()
        with pytest.raises(KeyboardInterrupt):
            said(client)
        for thread in threads:
            thread.join(3)
    assert found == ["hello"] * 5


def test_a_deadline_may_be_infinite(provider, make, key):
    """An infinite deadline works, also for calls that wait for another's answer."""
    provider.usual = lambda seen: make.answer(body=make.completion(), delay_s=0.2)
    found = []

    def ask():
        with limits(deadline_s=float("inf")):
            found.append(said(client))

    with OpenAI(api_key=key, base_url=provider.url) as client:
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["hello"] * 3


FORKED = """
import os, pathlib, sys, threading, time
from tailrace import OpenAI
url, when, folder = sys.argv[1:]
client = OpenAI(api_key="k", base_url=url, timeout=60)

def ask(text):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="gpt-4o-mini", temperature=0, messages=messages)

if when == "between calls":
    ask("first")
else:
    threading.Thread(target=ask, args=("child",)).start()
    while not pathlib.Path(folder, "asked").exists():
        time.sleep(0.01)
child = os.fork() == 0
pathlib.Path(folder, "forked").touch()
me = "child" if child else "parent"
answer = ask(me).choices[0].message.content
os.write(1, f"{me} {answer}\\n".encode())
os._exit(answer != me) if child else sys.exit(os.wait()[1])
"""


@pytest.mark.parametrize("when", ["between calls", "during a call"])
def test_two_processes_never_read_each_others_answers(provider, make, tmp_path, when):
    """After a fork each process opens its own connections, and waits only for its own calls."""

    def answer(seen):
        (tmp_path / "asked").touch()
        while when == "during a call" and not (tmp_path / "forked").exists():
            time.sleep(0.01)
        return make.answer(body=make.completion(seen.json["messages"][0]["content"]), delay_s=0.3)

    provider.usual = answer
    command = [sys.executable, "-c", FORKED, provider.url, when, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert sorted(ran.stdout.splitlines()) == ["child child", "parent parent"], ran.stderr


def test_a_store_that_says_nothing_of_being_shared_takes_leases(provider, key):
    """A custom store without the attribute `shared` still works."""

    class Own:
        slow_get = slow_put = False

        def __init__(self):
            self.entries, self.leased = {}, []

        def get(self, key, now):
            return self.entries.get(key)

        def put(self, key, entry):
            self.entries[key] = entry

        def lease(self, key, now, seconds):
            self.leased.append(key)
            return True

        def release(self, key): ...

        def close(self): ...

    store = Own()
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=store))) as client:
        assert said(client) == said(client)
    assert store.leased == list(store.entries)
    assert len(provider.seen) == 1
