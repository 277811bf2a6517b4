"""The official SDK as oracle: with an empty policy, and with a full one, results are the SDK's own."""

import asyncio

import openai
import pytest
from pydantic import BaseModel

from tailrace import AsyncOpenAI, OpenAI, Policy

EMPTY = Policy(cache=None, retry=None, guard=None)
CHAT = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}


class Colour(BaseModel):
    name: str


CALLS = {
    "chat": lambda c: c.chat.completions.create(**CHAT),
    "chat raw": lambda c: c.chat.completions.with_raw_response.create(**CHAT),
    "responses": lambda c: c.responses.create(model="gpt-4o-mini", input="hi", temperature=0),
    "embeddings": lambda c: c.embeddings.create(model="text-embedding-3-small", input=["a", "b"]),
    "embeddings of floats": lambda c: c.embeddings.create(
        model="text-embedding-3-small", input="a", encoding_format="float"
    ),
    "models": lambda c: c.models.list(),
    "no such path": lambda c: c.files.list(),
    "no such argument": lambda c: c.chat.completions.create(**CHAT, nonsense=1),
    "a missing argument": lambda c: c.chat.completions.create(model="m"),
    "a bad request": lambda c: c.chat.completions.create(model="gpt-4o-mini", messages=[]),
}
STREAMS = {
    "chat": lambda c: c.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}),
    "responses": lambda c: c.responses.create(model="gpt-4o-mini", input="hi", temperature=0, stream=True),
}
MOMENT = {"date", "x-request-id", "openai-processing-ms", "content-length", "connection", "keep-alive", "server"}


def told(outcome):
    """Return what a caller can see of an answer or an error, without times and random ids."""
    if isinstance(outcome, openai.APIStatusError):
        return type(outcome), outcome.status_code, outcome.message, outcome.code, outcome.param, outcome.type
    if isinstance(outcome, Exception):
        return type(outcome), str(outcome)
    if hasattr(outcome, "http_response"):
        headers = {name: value for name, value in outcome.headers.items() if name not in MOMENT}
        return outcome.status_code, outcome.http_version, headers, told(outcome.parse())
    dumped = outcome.model_dump()
    for volatile in ("id", "created", "created_at", "completed_at"):
        dumped.pop(volatile, None)
    return type(outcome), dumped, outcome.model_fields_set


def run(client, call):
    try:
        return told(call(client))
    except Exception as error:
        return told(error)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_with_an_empty_policy_nothing_is_different(simulator, key, call):
    """Results, errors and headers are those of the plain SDK."""
    with (
        openai.OpenAI(api_key=key, base_url=simulator.url, max_retries=0) as plain,
        OpenAI(api_key=key, base_url=simulator.url, policy=EMPTY) as ours,
    ):
        assert run(ours, call) == run(plain, call)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_with_a_full_policy_only_our_headers_are_added(simulator, key, call):
    """The first call and its hits give what the plain SDK gives, plus four headers."""
    with (
        openai.OpenAI(api_key=key, base_url=simulator.url, max_retries=0) as plain,
        OpenAI(api_key=key, base_url=simulator.url) as ours,
    ):
        expected = run(plain, call)
        for _ in range(3):
            found = run(ours, call)
            if isinstance(found, tuple) and len(found) == 4:
                kept = {name: value for name, value in found[2].items() if not name.startswith("x-tailrace-")}
                found = (*found[:2], kept, found[3])
                assert set(kept) <= set(expected[2])
                found, shown = (*found[:2], None, found[3]), (*expected[:2], None, expected[3])
                assert found == shown
            else:
                assert found == expected


@pytest.mark.parametrize("call", STREAMS.values(), ids=STREAMS.keys())
@pytest.mark.parametrize("policy", [EMPTY, Policy()], ids=["empty", "full"])
def test_streams_are_the_sdks_own(simulator, key, call, policy):
    """The same events in the same order, the first time and from the cache, in both forms."""

    def events(client):
        found = [event.model_dump(exclude={"id", "created", "response", "item_id", "item"}) for event in call(client)]
        return [{name: value for name, value in event.items() if name != "obfuscation"} for event in found]

    async def asynchronous():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
            found = [event.model_dump(exclude={"id", "created", "response", "item_id", "item"})
                     async for event in await call(client)]  # fmt: skip
        return [{name: value for name, value in event.items() if name != "obfuscation"} for event in found]

    with (
        openai.OpenAI(api_key=key, base_url=simulator.url, max_retries=0) as plain,
        OpenAI(api_key=key, base_url=simulator.url, policy=policy) as ours,
    ):
        expected = events(plain)
        assert len(expected) > 3
        assert events(ours) == events(ours) == expected
    assert asyncio.run(asynchronous()) == expected


FAULTS = [{"kind": "error500"}, {"kind": "error503"}, {"kind": "rate_limit"}, {"kind": "quota"}, {"kind": "malformed"},
          {"kind": "reset"}]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[fault["kind"] for fault in FAULTS])
def test_errors_are_the_sdks_own(simulator, key, fault):
    """Every fault raises the same class with the same message; with a full policy the same class or a subclass."""
    simulator.faults(fault)
    chat = CALLS["chat"]
    with (
        openai.OpenAI(api_key=key, base_url=simulator.url, max_retries=0) as plain,
        OpenAI(api_key=key, base_url=simulator.url, policy=EMPTY) as empty,
        OpenAI(api_key=key, base_url=simulator.url, policy=Policy(retry=None)) as full,
    ):
        expected = run(plain, chat)
        assert run(empty, chat) == expected
        assert issubclass(run(full, chat)[0], expected[0])


def test_parse_and_its_stream_work(provider, make, key):
    """Structured outputs go through the policy, hits included."""
    provider.usual = lambda seen: make.answer(body=make.completion('{"name": "blue"}'))
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for _ in range(2):
            answer = client.chat.completions.parse(**CHAT, response_format=Colour)
            assert answer.choices[0].message.parsed == Colour(name="blue")
    assert len(provider.seen) == 1
    provider.usual = lambda seen: make.answer(
        headers={"content-type": "text/event-stream"}, chunks=make.events('{"name":', ' "green"}')
    )
    with OpenAI(api_key=key, base_url=provider.url) as client:
        for _ in range(2):
            with client.chat.completions.stream(**CHAT, response_format=Colour) as stream:
                assert stream.get_final_completion().choices[0].message.parsed == Colour(name="green")
    assert len(provider.seen) == 2


def test_an_http_client_of_ones_own_keeps_its_settings(provider, key):
    """The caller's `http_client` keeps its headers and hooks, is not changed, and stays usable."""
    import httpx2

    asked = []
    with httpx2.Client(headers={"x-mine": "1"}, event_hooks={"request": [asked.append]}) as http:
        before = http._transport
        client = OpenAI(api_key=key, base_url=provider.url, http_client=http)
        for _ in range(2):
            client.chat.completions.create(**CHAT)
        assert http._transport is before
        assert http.get(f"{provider.url}/models").status_code == 200
    assert len(asked) == 3
    assert provider.seen[0].headers["x-mine"] == "1"
    assert len(provider.seen) == 2
