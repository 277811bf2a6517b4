"""Who gets whose answers: by credential, by an identity of the policy's, and never by accident."""

import asyncio
import uuid
from contextvars import ContextVar

import pytest

from tailrace import AsyncOpenAI, Cache, Fallback, OpenAI, Policy, Retry, Sqlite

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
USER: ContextVar[str] = ContextVar("user", default="")


def asked(provider, cache, api_key, client="sync", **more):
    """Return what the cache did for one call of a client of its own."""
    policy = Policy(cache=cache, retry=Retry(attempts=1))
    if client == "sync":
        with OpenAI(api_key=api_key, base_url=provider.url, policy=policy) as made:
            return made.chat.completions.with_raw_response.create(**ASK, **more).headers["x-tailrace-cache"]

    async def main():
        async with AsyncOpenAI(api_key=api_key, base_url=provider.url, policy=policy) as made:
            return (await made.chat.completions.with_raw_response.create(**ASK, **more)).headers["x-tailrace-cache"]

    return asyncio.run(main())


@pytest.fixture
def store(tmp_path):
    with_closing = Sqlite(tmp_path / "llm.db")
    yield with_closing
    with_closing.close()


@pytest.mark.parametrize("client", ["sync", "async"])
def test_callers_of_one_identity_share_answers(provider, store, client):
    """Two keys with one identity share an answer; with two identities, or with none, the controls, they do not."""
    for identity, expected in (("team-a", ["miss", "hit"]), ("team-b", ["miss", "hit"]), (None, ["miss", "miss"])):
        cache = Cache(store=store, identity=identity)
        assert [asked(provider, cache, name, client) for name in ("sk-one", "sk-two")] == expected
    assert [seen.headers["authorization"] for seen in provider.seen] == [
        "Bearer sk-one", "Bearer sk-one", "Bearer sk-one", "Bearer sk-two"]  # fmt: skip


@pytest.mark.parametrize("client", ["sync", "async"])
def test_a_function_names_the_caller_of_each_call(provider, store, client):
    """The identity may come from a header or from the context; without one, the call is not cached."""
    by_header = Cache(store=store, identity=lambda headers: headers.get("x-user", ""))
    labels = [asked(provider, by_header, key, client, extra_headers={"x-user": user})
              for key, user in (("sk-one", "ann"), ("sk-two", "ann"), ("sk-two", "bob"))]  # fmt: skip
    assert labels == ["miss", "hit", "miss"]
    assert [asked(provider, by_header, "sk-one", client) for _ in range(2)] == ["bypass", "bypass"]


def test_a_client_asks_for_its_identity_in_each_call(provider):
    """One client, whose identity comes from the context: another user is never answered from the fast path."""
    policy = Policy(cache=Cache(identity=lambda _headers: USER.get()))
    with OpenAI(api_key="sk-one", base_url=provider.url, policy=policy) as client:
        for user in ("ann", "ann", "bob", "ann", "bob", "", ""):
            USER.set(user)
            client.chat.completions.create(**ASK)
    USER.set("")
    assert len(provider.seen) == 4  # ann, bob, and nobody twice


def test_a_function_that_fails_fails_no_call(provider, caplog):
    """The call is made without the cache, and the log names the failure without the caller."""

    def broken(_headers):
        raise RuntimeError("sk-secret")

    cache = Cache(identity=broken)
    assert [asked(provider, cache, "sk-one") for _ in range(2)] == ["bypass", "bypass"]
    assert "the call is not cached: RuntimeError" in caplog.text
    assert "sk-secret" not in caplog.text


@pytest.mark.parametrize("identity", ["team", None])
def test_a_fallbacks_answer_is_kept_for_the_identity(provider, make, store, identity):
    """The answer of a fallback is shared by identity, too; without one, the control, by credential."""
    usual = provider.usual
    provider.usual = lambda seen: make.answer(503, b"{}") if seen.json["model"] == "gpt-4o-mini" else usual(seen)
    policy = Policy(cache=Cache(store=store, identity=identity), retry=None, fallbacks=(Fallback(model="other"),))
    for api_key in ("sk-one", "sk-two"):
        with OpenAI(api_key=api_key, base_url=provider.url, policy=policy) as client:
            client.chat.completions.create(**ASK)
    others = [seen for seen in provider.seen if seen.json["model"] == "other"]
    assert len(others) == (1 if identity else 2)


@pytest.mark.parametrize(("names", "requests"), [(("x-acme-*",), 1), ((), 3)])
def test_a_header_of_ones_own_is_left_out_of_the_key(provider, names, requests):
    """With `ignore_headers` three traces are one answer, and each request has its header; without it, three."""
    policy = Policy(cache=Cache(ignore_headers=names))
    with OpenAI(api_key="sk-one", base_url=provider.url, policy=policy) as client:
        for _ in range(3):
            client.chat.completions.create(**ASK, extra_headers={"x-acme-trace": uuid.uuid4().hex})
    assert len(provider.seen) == requests
    assert all(seen.headers["x-acme-trace"] for seen in provider.seen)
