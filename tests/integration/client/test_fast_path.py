"""The fast path to a hit gives what the full path would give, and is not taken when that is uncertain."""

import asyncio
import copy
import threading
import time

import pytest

from tailrace import AsyncOpenAI, Fallback, OpenAI, Policy, limits

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


def said(client):
    return client.chat.completions.create(**ASK).choices[0].message.content


def test_the_fast_path_notices_that_the_client_changed(provider, key):
    """A changed key, organisation or base URL of the client takes effect at once."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for change in (lambda: None, lambda: setattr(client, "api_key", key + "2"),
                       lambda: setattr(client, "organization", "o"),
                       lambda: setattr(client, "base_url", provider.url + "/other")):  # fmt: skip
            change()
            before = len(provider.seen)
            for _ in range(3):
                client.chat.completions.create(**ASK)
            assert len(provider.seen) == before + 1


def test_the_fast_path_keeps_tenants_apart(provider, key):
    """Each tenant sends one request; plain calls take the fast path from the second on; in both forms."""

    async def asynchronous():
        async with AsyncOpenAI(api_key=key, base_url=provider.url) as client:
            for tenant in ("", "acme", "other") * 3:
                with limits(tenant=tenant):
                    await client.chat.completions.create(**ASK)

    with OpenAI(api_key=key, base_url=provider.url) as client:
        for tenant in ("", "acme", "other") * 3:
            with limits(tenant=tenant):
                said(client)
    assert len(provider.seen) == 3
    asyncio.run(asynchronous())
    assert len(provider.seen) == 6


def test_the_fast_path_is_not_fooled_by_nan(provider, key):
    """None and NaN are written alike by some; they are not the same call."""
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
    """When the stored bytes have changed, a hit gives the new ones, on the fast path as well."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for text in ("one", "two"):
            provider.usual = lambda seen, text=text: make.answer(body=make.completion(text))
            client.chat.completions.create(**ASK, extra_headers={"cache-control": "no-cache"})
            found = [client.chat.completions.create(**ASK).choices[0].message.content for _ in range(3)]
            assert found == [text] * 3
    assert len(provider.seen) == 2


def test_an_answer_is_not_remembered_for_the_key_that_came_meanwhile(provider, make, key):
    """When the key is changed during a call, its answer is not remembered for the new key."""
    provider.usual = lambda seen: make.answer(body=make.completion(seen.headers["authorization"]), delay_s=0.3)
    with OpenAI(api_key=key, base_url=provider.url) as client:
        asking = threading.Thread(target=said, args=(client,))
        asking.start()
        time.sleep(0.1)
        client.api_key = key + "2"
        client.chat.completions.create(**ASK, seed=1)
        asking.join()
        assert said(client) == f"Bearer {key}2"


@pytest.mark.parametrize("what", ["default_headers", "default_query"])
def test_the_fast_path_notices_what_the_caller_changes_in_his_own(provider, key, what):
    """The SDK reads the caller's headers and query at each call, so his changes to them take effect."""
    given = {"x-user": "alice"}
    with OpenAI(api_key=key, base_url=provider.url, **{what: given}) as client:
        for user, asked in (("alice", 1), ("bob", 2), ("alice", 2)):
            given["x-user"] = user
            assert said(client) == said(client)
            assert len(provider.seen) == asked


class Headed(OpenAI):
    user = "alice"

    @property
    def default_headers(self):
        return {**super().default_headers, "x-user": self.user}


class Signed(OpenAI):
    user = "alice"

    def _auth_headers(self, security):
        return {"Authorization": f"Bearer {self.user}"}


class Requesting(OpenAI):
    user = "alice"

    def request(self, cast_to, options, **more):
        options.headers = {"x-user": self.user}
        return super().request(cast_to, options, **more)


@pytest.mark.parametrize("kind", [Headed, Signed, Requesting])
def test_a_subclass_that_makes_other_requests_takes_the_full_path(provider, key, kind):
    """Whatever it overrides in the SDK may change the next request."""
    with kind(api_key=key, base_url=provider.url) as client:
        said(client)
        client.user = "bob"
        said(client)
    assert len(provider.seen) == 2


def test_a_copy_of_a_client_has_no_memory_of_the_first(provider, key):
    """A `copy.copy` may get another key; the original's answers are not its own."""
    with OpenAI(api_key=key, base_url=provider.url) as client:
        other = copy.copy(client)
        other.api_key = key + "2"
        said(client)
        said(other)
    assert [seen.headers["authorization"] for seen in provider.seen] == [f"Bearer {key}", f"Bearer {key}2"]


def test_the_fast_path_does_not_keep_to_a_fallback(provider, make, key):
    """A fallback's answer is stored under its own key: the provider is tried again, as on the full path."""
    provider.answers += [make.answer(status=500, body=b"{}"), make.answer(body=make.completion("instead"))]
    policy = Policy(retry=None, fallbacks=(Fallback(model="gpt-4o"),))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        assert said(client) == "instead"
        assert said(client) == said(client) != "instead"


def test_a_create_that_is_put_before_the_sdks_sees_every_call(provider, key, monkeypatch):
    """It sees hits, too, whether patched in before the client or after its first call, until it is removed."""
    from openai.resources.chat.completions import Completions

    original, seen = Completions.create, []

    def traced(self, **given):
        seen.append(given)
        return original(self, **given)

    with OpenAI(api_key=key, base_url=provider.url) as client:
        said(client)
        monkeypatch.setattr(Completions, "create", traced)
        with client.with_options(timeout=60) as later:
            for one in (client, later) * 2:
                said(one)
            assert len(seen) == 4
            monkeypatch.undo()
            said(client)
    assert len(seen) == 4
    assert len(provider.seen) == 1


def test_a_hit_has_the_request_id_of_the_answer_in_the_store(provider, make, key):
    """A hit has the stored answer's request id, also when another answer had the same bytes."""

    def answer(seen):
        return make.answer(body=make.completion(), headers={"x-request-id": f"req_{len(provider.seen)}"})

    provider.usual = answer
    with OpenAI(api_key=key, base_url=provider.url) as client:
        ids = [client.chat.completions.create(**ASK, extra_headers={"cache-control": wish} if wish else {})._request_id
               for wish in ("", "", "no-cache", "")]  # fmt: skip
    assert ids == ["req_1", "req_1", "req_2", "req_2"]
