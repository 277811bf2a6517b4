"""Every way to call the SDK, compared with the plain SDK: parsed, raw and streamed, both forms, and Azure."""

import asyncio

import httpx2
import openai
import pytest
from pydantic import BaseModel

from tailrace import AsyncOpenAI, OpenAI, Policy, async_transport, transport

CHAT = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
RESPONSE = {"model": "gpt-4o-mini", "temperature": 0, "input": "hi"}
EMBEDDING = {"model": "text-embedding-3-small", "input": ["a", "b"]}


class Colour(BaseModel):
    name: str


PLACES = {
    "chat": (lambda c: c.chat.completions, CHAT),
    "responses": (lambda c: c.responses, RESPONSE),
    "embeddings": (lambda c: c.embeddings, EMBEDDING),
}


def shown(parsed):
    """Return the fields of a parsed answer, without its time."""
    kept = parsed.model_dump()
    return {name: value for name, value in kept.items() if name not in ("created", "created_at", "completed_at")}


def headers(answer):
    """Return the headers that belong to the answer; a hit has no others."""
    return {name: answer.headers[name] for name in ("content-type",)}


async def through(client, place):
    """Return the result of each kind of access to `place`, with an asynchronous client."""
    get, arguments = PLACES[place]
    raw = await get(client).with_raw_response.create(**arguments)
    assert 0 <= raw.elapsed.total_seconds() < 60
    async with get(client).with_streaming_response.create(**arguments) as streamed:
        lines = [line async for line in streamed.iter_lines()]
        told = (streamed.status_code, headers(streamed))
    async with get(client).with_streaming_response.create(**arguments) as streamed:
        parsed = await streamed.parse()
    plain = await get(client).create(**arguments)
    return (raw.status_code, headers(raw), raw.text, shown(raw.parse())), told, lines, shown(parsed), shown(plain)


def through_threads(client, place):
    """Return the same with a threaded client."""
    get, arguments = PLACES[place]
    raw = get(client).with_raw_response.create(**arguments)
    assert 0 <= raw.elapsed.total_seconds() < 60
    with get(client).with_streaming_response.create(**arguments) as streamed:
        lines = list(streamed.iter_lines())
        told = (streamed.status_code, headers(streamed))
    with get(client).with_streaming_response.create(**arguments) as streamed:
        parsed = streamed.parse()
    plain = get(client).create(**arguments)
    return (raw.status_code, headers(raw), raw.text, shown(raw.parse())), told, lines, shown(parsed), shown(plain)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("policy", [Policy(), Policy(cache=None, retry=None, guard=None)], ids=["full", "empty"])
def test_every_access_gives_what_the_plain_sdk_gives(simulator, key, place, policy):
    """Raw text, streamed lines and parsed fields are the same, twice, so that hits are compared, too."""
    given = {"api_key": key, "base_url": simulator.url}
    with openai.OpenAI(**given, max_retries=0) as plain, OpenAI(**given, policy=policy) as ours:
        expected = through_threads(plain, place)
        assert through_threads(ours, place) == through_threads(ours, place) == expected

    async def main():
        async with openai.AsyncOpenAI(**given, max_retries=0) as plain, AsyncOpenAI(**given, policy=policy) as ours:
            right = await through(plain, place)
            return right, await through(ours, place), await through(ours, place)

    right, first, second = asyncio.run(main())
    assert first == second == right


def parse_calls(client):
    """Return the two calls that parse."""
    chat = client.chat.completions.parse(**CHAT, response_format=Colour)
    return chat, client.responses.parse(**RESPONSE, text_format=Colour)


def test_parse_gives_what_the_plain_sdk_gives(simulator, key):
    """Structured outputs of both APIs are the same objects, fetched and from the cache, in both forms."""
    given = {"api_key": key, "base_url": simulator.url}

    def read(chat, response):
        assert isinstance(response.output_parsed, Colour)
        return chat.choices[0].message.parsed, response.output_parsed

    async def both(client):
        chat, response = parse_calls(client)
        return read(await chat, await response)

    async def main():
        async with AsyncOpenAI(**given) as client:
            return [await both(client) for _ in range(2)]

    with openai.OpenAI(**given, max_retries=0) as plain, OpenAI(**given) as ours:
        expected = read(*parse_calls(plain))
        asked = simulator.requests
        assert read(*parse_calls(ours)) == read(*parse_calls(ours)) == expected
        assert simulator.requests == asked + 2
    assert asyncio.run(main()) == [expected] * 2


def azure(kind, http, url, key):
    return kind(api_key=key, azure_endpoint=url, api_version="v1", http_client=http, max_retries=0)


def test_azure_gives_what_the_plain_sdk_gives(provider, key):
    """Azure's clients over our transports: same paths, credentials and answers; deployments do not share."""
    with (
        httpx2.Client() as stock,
        httpx2.Client(transport=transport(Policy())) as http,
    ):
        plain, ours = (azure(openai.AzureOpenAI, client, provider.url, key) for client in (stock, http))
        expected = shown(plain.chat.completions.create(**CHAT))
        assert shown(ours.chat.completions.create(**CHAT)) == shown(ours.chat.completions.create(**CHAT)) == expected
        assert shown(ours.chat.completions.create(**{**CHAT, "model": "other"})) != expected
    assert [seen.path for seen in provider.seen][:2] == [provider.seen[0].path] * 2
    assert provider.seen[1].headers["api-key"] == provider.seen[0].headers["api-key"] == key
    assert len(provider.seen) == 3

    async def main():
        async with httpx2.AsyncClient(transport=async_transport(Policy())) as http:
            ours = azure(openai.AsyncAzureOpenAI, http, provider.url, key)
            return [shown(await ours.chat.completions.create(**CHAT)) for _ in range(2)]

    assert asyncio.run(main()) == [expected] * 2
    assert len(provider.seen) == 4
