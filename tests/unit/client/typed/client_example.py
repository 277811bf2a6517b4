"""An example of the client for the type checker: the results have the SDK's own types."""

from typing import assert_type

import openai
from openai import AsyncStream, Stream
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ParsedChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel

from tailrace import (
    AIConfig,
    AsyncOpenAI,
    Cache,
    Limits,
    OpenAI,
    Policy,
    Retry,
    Spend,
    Sqlite,
    aask,
    ask,
    limits,
    untrusted,
)
from tailrace.client import Call


class Colour(BaseModel):
    name: str


def hook(call: Call) -> None:
    assert_type(call.cost_usd, float | None)


policy = Policy(
    cache=Cache(store=Sqlite("llm.db", max_bytes=256 << 20), ttl_s=3600, namespace="team-a"),
    retry=Retry(attempts=4, base_s=0.5, cap_s=8, budget=0.2),
    limits=Limits(deadline_s=30, attempt_timeout_s=20, concurrency="adaptive"),
    spend=Spend(max_usd=5.0),
    hooks=(hook,),
)


def synchronous(client: OpenAI) -> openai.OpenAI:
    answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert_type(answer, ChatCompletion)
    client.chat.completions.create(model="m", messages=[{"role": "system", "content": "hi"}, untrusted("text")])
    stream = client.chat.completions.create(model="m", messages=[], stream=True)
    assert_type(stream, Stream[ChatCompletionChunk])
    assert_type(client.responses.create(model="m", input="hi"), Response)
    assert_type(client.embeddings.create(model="m", input="hi"), CreateEmbeddingResponse)
    parsed = client.chat.completions.parse(model="m", messages=[], response_format=Colour)
    assert_type(parsed, ParsedChatCompletion[Colour])
    assert_type(client.chat.completions.with_raw_response.create(model="m", messages=[]).parse(), ChatCompletion)
    assert_type(client.with_options(timeout=5), OpenAI)
    assert_type(ask("hi", AIConfig(model="m"), client=client), str)
    return client


async def asynchronous() -> None:
    async with AsyncOpenAI(policy=policy, base_url="http://127.0.0.1:1/v1", timeout=20) as client:
        with limits(deadline_s=5, tenant="acme"):
            answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
            assert_type(answer, ChatCompletion)
            stream = await client.chat.completions.create(model="m", messages=[], stream=True)
            assert_type(stream, AsyncStream[ChatCompletionChunk])
            assert_type(await aask("hi", client=client), str)
