"""Isolation: random requests over real HTTP, none of which gets the answer to another."""

import asyncio

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from depth import scaled
from tailrace import Cache, Memory, Policy, limits
from tailrace.client import AsyncDriver, wire
from tailrace.client.call import pipeline
from tailrace.client.request import envelope
from tailrace.client.request.key import asker, cache_key
from tailrace.client.senders.aiohttp import AiohttpSender
from tailrace.headers import CACHE
from tailrace.simulator.api_request import ApiRequest

AT_ONCE = 16
SEED = 1  # of the simulator: its answer's id is a digest of the request and of this
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system"]), "content": st.sampled_from(["hi", "hi ", "é"])}
    ),
    min_size=1,
    max_size=2,
)
documents = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["gpt-4o-mini", "gpt-4o"]),
        "messages": messages,
        "temperature": st.sampled_from([0, 0.0]),
    },
    optional={
        "seed": st.integers(0, 2),
        "top_p": st.sampled_from([1, 1.0, 0.5]),
        "user": st.sampled_from(["a", "b", "1"]),
        "n": st.integers(1, 2),
        "stop": st.sampled_from(["zz", ["zz"]]),
        "top_k": st.sampled_from([1, True, "1", None]),
        "metadata": st.sampled_from([{}, {"a": "1"}, {"a": "2"}]),
    },
)
batches = st.lists(
    st.tuples(
        documents,
        st.booleans(),
        st.sampled_from(["one", "two"]),  # credentials
        st.sampled_from(["", "org"]),
        st.sampled_from(["", "tenant"]),
        st.sampled_from(["", "?a=1"]),
    ),
    min_size=40,
    max_size=60,
)


def wanted(url, drawn):
    """Return a random request, and the id of its only right answer."""
    document, turned, credential, organisation, _, query = drawn
    body = orjson.dumps(dict(reversed(document.items())) if turned else document)
    headers = (("authorization", f"Bearer {credential}"), ("content-type", "application/json"))
    headers += (("openai-organization", organisation),) if organisation else ()
    path = "/v1/chat/completions"
    seen = ApiRequest("POST", path, query.removeprefix("?"), dict(headers), body, 0)
    asked = wire.Request("POST", f"{url.removesuffix('/v1')}{path}{query}", headers, body)
    return asked, f"chatcmpl-{seen.digest(SEED).hex()[:29]}"


def mixed_up(simulator, examples):
    """Return how many random requests got a wrong answer, how many there were, and their cache labels."""
    found = {"asked": 0, "wrong": 0, "hit": 0, "miss": 0, "coalesced": 0}
    distinct = set()

    async def one(driver, drawn):
        asked, right = wanted(simulator.url, drawn)
        with limits(tenant=drawn[4]):
            response = await driver(asked)
        assert response.status == 200, response.body
        found["asked"] += 1
        found[wire.header(response.headers, CACHE)] += 1
        found["wrong"] += orjson.loads(response.body)["id"] != right
        distinct.add((right, drawn[4]))

    async def batch(driver, drawn):
        for at in range(0, len(drawn), AT_ONCE):
            await asyncio.gather(*(one(driver, request) for request in drawn[at : at + AT_ONCE]))

    with asyncio.Runner() as runner:
        send = runner.run(AiohttpSender(connections=AT_ONCE).open())
        driver = AsyncDriver(Policy(cache=Cache(store=Memory(256 << 20))), send)

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True,
                  database=None)  # fmt: skip
        @given(batches)
        def law(drawn):
            runner.run(batch(driver, drawn))

        law()
        runner.run(driver.aclose())
        runner.run(send.close())
    return found, distinct


def test_random_requests_over_http_never_get_anothers_answer(simulator):
    """With random arguments, order, credentials, organisations, tenants and queries, each answer is right.

    The simulator puts a digest of the whole request into its answer, computed without the client's code.
    """
    found, distinct = mixed_up(simulator, scaled(210, 30))
    assert found["asked"] >= scaled(10_000, 1_400)
    assert found["wrong"] == 0
    assert found["hit"] > scaled(1_000, 140), "negative control: there have to be hits among them"
    assert simulator.requests == found["miss"] == len(distinct), "each question of each tenant is sent once"


FORGOTTEN = ["seed", "metadata", "the credential", "the query"]


@pytest.mark.parametrize("forgotten", FORGOTTEN)
def test_a_key_that_forgets_one_thing_is_caught(simulator, monkeypatch, forgotten):
    """Negative control: the same search finds wrong answers when the key leaves one parameter out."""

    def careless_asker(method, url, headers, *rules):
        if forgotten == "the credential":
            headers = headers[1:]
        if forgotten == "the query":
            url = url.partition("?")[0]
        return asker(method, url, headers, *rules)

    def careless_key(who, body, document):
        return cache_key(who, body, {name: value for name, value in document.items() if name != forgotten})

    monkeypatch.setattr(envelope, "asker", careless_asker)
    monkeypatch.setattr(pipeline, "cache_key", careless_key)
    found, _ = mixed_up(simulator, 10)
    assert found["wrong"] > 0
