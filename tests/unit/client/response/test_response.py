"""Reading answers and streams: complete or cut, tokens, price."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.call.prices import Prices
from tailrace.client.response.sse import StreamWatch
from tailrace.client.response.usage import Reading, Usage, reading, usage

OPENAI = "https://api.openai.com/v1/chat/completions"


def chat(*reasons):
    return {"choices": [{"finish_reason": reason} for reason in reasons], "model": "m"}


ANSWERS = [
    ("chat", chat("stop"), True),
    ("chat", chat("tool_calls"), True),
    ("chat", chat("length"), False),
    ("chat", chat("content_filter"), False),
    ("chat", chat(None), False),
    ("chat", chat("stop", "length"), False),
    ("chat", {"choices": []}, False),
    ("chat", {**chat("stop"), "error": {"message": "no"}}, False),
    ("chat", [], False),
    ("responses", {"status": "completed"}, True),
    ("responses", {"status": "incomplete"}, False),
    ("responses", {"status": "in_progress"}, False),
    ("embeddings", {"data": [{"embedding": [0.1]}]}, True),
    ("embeddings", {"data": []}, False),
]


@pytest.mark.parametrize(("operation", "document", "complete"), ANSWERS)
def test_only_a_complete_answer_is_complete(operation, document, complete):
    """An answer cut by length or filter, unfinished, empty or with an error in it is not complete."""
    assert reading(document, operation).complete is complete


def test_tokens_are_read_from_both_apis():
    """Cached and reasoning tokens are counted separately, whatever the API calls them."""
    of_chat = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4},
               "completion_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
    of_responses = {"input_tokens": 9, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4},
                    "output_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
    assert usage(of_chat) == usage(of_responses) == Usage(True, 9, 5, 4, 2)
    assert not usage(None).known
    assert not usage({"prompt_tokens": "many"}).known


def events(*documents, done=True):
    lines = [b"data: " + orjson.dumps(document) + b"\n\n" for document in documents]
    return [*lines, b"data: [DONE]\n\n"] if done else lines


def watched(chunks, operation="chat", max_bytes=1 << 20):
    watch = StreamWatch(operation, max_bytes)
    for chunk in chunks:
        watch.feed(chunk)
    return watch


DELTA = {"model": "m", "choices": [{"index": 0, "delta": {"content": "[DONE]"}, "finish_reason": None}]}
STOP = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
COUNT = {"model": "m", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}


def test_a_stream_is_complete_with_its_terminator():
    """A finish reason and [DONE] make a stream complete; its usage is read."""
    read = watched(events(DELTA, STOP, COUNT)).reading()
    assert read == Reading(True, Usage(True, 3, 4, 0, 0), "m")


@given(st.integers(1, 400))
def test_how_the_stream_is_cut_into_chunks_does_not_matter(size):
    """Terminator, finish reasons and usage are found wherever the chunks begin and end."""
    whole = b"".join(events(DELTA, STOP, COUNT))
    chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
    watch = watched(chunks)
    assert watch.terminated
    assert watch.reading().complete
    assert watch.whole == tuple(chunks)


CUT = {
    "no terminator": events(DELTA, STOP, done=False),
    "no finish": events(DELTA),
    "by length": events(DELTA, {"choices": [{"index": 0, "finish_reason": "length"}]}),
    "an error inside": events(DELTA, {"error": {"message": "overloaded"}}, STOP),
    "one of two choices": events(DELTA, {"choices": [{"index": 1, "finish_reason": "stop"}]}),
    "a quoted terminator": events(DELTA, STOP, {"x": "data: [DONE]\n\n"}, done=False),
    "half a terminator": [*events(DELTA, STOP, done=False), b"data: [DONE]"],
    "nothing": [],
}


@pytest.mark.parametrize("chunks", CUT.values(), ids=CUT.keys())
def test_a_cut_stream_is_not_complete(chunks):
    """A stream that misses any of its parts is not complete."""
    watch = watched(chunks)
    assert not (watch.reading().complete and watch.terminated)


def test_a_stream_of_responses_ends_with_completed():
    """The Responses API ends with response.completed; incomplete and failed do not count."""

    def last(kind, status):
        return [b"event: x\ndata: " + orjson.dumps({"type": kind, "response": {"status": status}}) + b"\n\n"]

    done = watched(last("response.completed", "completed"), "responses")
    assert done.terminated
    assert done.reading().complete
    for kind, status in (("response.incomplete", "incomplete"), ("response.failed", "failed")):
        assert not watched(last(kind, status), "responses").reading().complete


def test_a_stream_too_large_is_not_kept():
    """Beyond its limit a stream is only watched: memory stays bounded, and the usage is still found."""
    watch = watched([b": " + b"x" * 100_000 + b"\n\n"] * 50 + events(STOP, COUNT), max_bytes=1_000_000)
    assert watch.whole is None
    assert watch.reading().usage.in_tok == 3
    assert watch._kept < 1_200_000


def test_a_known_model_has_a_price():
    """gpt-4o-mini: $0.15 in, $0.075 cached, $0.60 out, per million."""
    cost = Prices().cost_usd("gpt-4o-mini", OPENAI, Usage(True, 1_000_000, 1_000_000, 500_000))
    assert cost == pytest.approx(0.075 + 0.0375 + 0.60)
    assert Prices().cost_usd("gpt-4o-mini", "http://127.0.0.1:1/v1", Usage(True, 1_000_000)) == pytest.approx(0.15)


def test_an_unknown_price_is_none_and_never_0():
    """A model without a price, or an answer without a count, costs None."""
    assert Prices().cost_usd("my-own-model-7b", OPENAI, Usage(True, 10, 10)) is None
    assert Prices().cost_usd("", OPENAI, Usage(True, 10, 10)) is None
    assert Prices().cost_usd("gpt-4o-mini", OPENAI, Usage(False)) is None


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 100))
def test_the_quick_price_is_the_tables_price(fresh, out, cached):
    """The fast price equals the price of genai-prices, for flat prices and for tiered ones."""
    from genai_prices import Usage as Billed
    from genai_prices import calc_price

    prices = Prices()
    for model in ("gpt-4o-mini", "gpt-4.1", "o3-mini", "gpt-5"):
        usage_ = Usage(True, fresh + cached, out, cached)
        billed = Billed(input_tokens=fresh + cached, output_tokens=out, cache_read_tokens=cached)
        table = float(calc_price(billed, model, provider_id="openai").total_price)
        assert prices.cost_usd(model, OPENAI, usage_) == pytest.approx(table, rel=1e-9, abs=1e-15)
