"""The fast path to a hit: the memory it takes stays within its own estimate."""

import gc
import json
import tracemalloc
from functools import cache

import pytest
from openai.types.chat import ChatCompletion

from depth import scaled
from tailrace import OpenAI
from tailrace.client.sdk.fast_path import ParsedAnswer, Remembered


def answer(**choice):
    choices = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}, **choice}]
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices,
                       "usage": usage}).encode()  # fmt: skip


def logprobs(top):
    likely = [{"token": " hi", "logprob": -1.5 * place, "bytes": [32, 104, 105]} for place in range(top)]
    token = {"token": " hello", "bytes": [32, 104, 101, 108, 108, 111], "top_logprobs": likely}
    return {"content": [{**token, "logprob": -0.125 * place} for place in range(200)], "refusal": None}


def tools(count):
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    return {"role": "assistant", "content": None, "tool_calls": [call] * count}


SHAPES = {
    "short": answer(),
    "long": answer(message={"role": "assistant", "content": "hello " * 1000}),
    "logprobs": answer(logprobs=logprobs(0)),
    "20 top logprobs": answer(logprobs=logprobs(20)),
    "tool calls": answer(message=tools(64)),
}


@cache
def memory_of(body):
    """Return the bytes that an answer takes when the SDK has parsed it from `body`, as a mean of several."""
    client = OpenAI(api_key="k")

    def read():
        return client._process_response_data(data=json.loads(body), cast_to=ChatCompletion, response=None)

    read()
    gc.collect()
    tracemalloc.start()
    try:
        kept = [read() for _ in range(scaled(10, 3))]
        return tracemalloc.get_traced_memory()[0] / len(kept)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_remembered_answer_takes_no_more_than_it_says(shape):
    """Many small objects take far more memory than their text; the estimate covers the worst shape."""
    body = SHAPES[shape]
    assert memory_of(body) <= Remembered("k", ChatCompletion, ParsedAnswer(body, None, None)).size_bytes


def test_a_smaller_estimate_would_be_too_small():
    """Negative control: half the estimate is too small for some shapes."""
    assert any(memory_of(body) > 4096 + 8 * len(body) for body in SHAPES.values())
