"""The one reader of answers: streams and plain bodies, cut anywhere, in any encoding."""

import gzip
import zlib
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth import scaled
from event_streams import ALL, GOOD, A, B, delta, event, stream, usage
from tailrace.protocol.answer import AnswerReader
from tailrace.protocol.usage import Usage


def read(*pieces, streamed=True, api="chat", encoding="", whole=True):
    reader = AnswerReader(streamed, api, encoding)
    for at, piece in enumerate(pieces):
        reader.feed(piece, 1_000_000 * (at + 1))
    return reader.end(whole)


def meaning(answer):
    counts = answer.usage
    return answer.failure, answer.chunks, counts.in_tok, counts.out_tok, counts.reasoning_tok, answer.complete


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_a_stream_means_what_the_table_says(case):
    """Failure, chunks with tokens, usage and completeness of each stream of the table."""
    assert meaning(read(case.body)) == case[2:8]


def test_the_table_is_held_against():
    """Negative control: streams of the table differ in each of the facts."""
    for fact in range(2, 8):
        assert len({case[fact] for case in ALL}) > 1


@settings(max_examples=scaled(1000, 100))
@given(st.sampled_from(ALL), st.lists(st.integers(0, 3000), max_size=30))
def test_bytes_may_be_cut_anywhere(case, cuts):
    """However the bytes are cut, the stream means the same."""
    places = sorted({0, len(case.body), *(cut % (len(case.body) + 1) for cut in cuts)})
    assert meaning(read(*(case.body[start:end] for start, end in pairwise(places)))) == case[2:8]


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_each_byte_may_come_alone(case):
    """A stream of single bytes means the same."""
    assert meaning(read(*(bytes([byte]) for byte in case.body))) == case[2:8]


RAW = zlib.compressobj(wbits=-15)
BODY = stream(*GOOD)
ENCODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY[:99]) + gzip.compress(BODY[99:]),
    "deflate": zlib.compress(BODY),
    "Deflate ": RAW.compress(BODY) + RAW.flush(),
    "deflate, gzip": gzip.compress(zlib.compress(BODY)),
    "identity": BODY,
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_an_encoding_that_was_not_asked_for_is_undone(encoding, size):
    """gzip of one or two members, deflate in both formats, and one on the other, cut anywhere."""
    body = ENCODED[encoding]
    answer = read(*(body[at : at + size] for at in range(0, len(body), size)), encoding=encoding)
    assert (answer.failure, answer.chunks, answer.complete) == ("", 2, True)


@pytest.mark.parametrize(("encoding", "body"), [("br", BODY), ("gzip", BODY), ("deflate", b"\xff" * 99)])
def test_what_cannot_be_decoded_is_a_bad_body(encoding, body):
    """An encoding that is not known, and one that is not what it says."""
    assert read(body, encoding=encoding).failure == "bad_body"
    assert read(body, encoding=encoding, streamed=False).failure == "bad_body"


def test_half_of_an_encoded_stream_is_cut():
    """Without the end of the encoding, the end of the body is not clean."""
    body = gzip.compress(stream(*GOOD[:-1]))
    assert read(body, encoding="gzip").failure == ""
    assert read(body[:-9], encoding="gzip").failure == "cut_stream"


def test_a_small_body_that_grows_without_bounds_is_refused():
    """A bomb: 80 MB of zeros in 80 kB."""
    assert read(gzip.compress(bytes(80 << 20)), encoding="gzip").failure == "bad_body"


def test_times_are_those_of_chunks_that_carry_tokens():
    """First token of any kind, first of the answer, last, and the gaps; roles, usage and ends have no part in it."""
    answer = read(
        *map(event, (delta(role="assistant", content=""), delta(reasoning="hm"), A, B, delta("stop"), usage()))
    )
    assert (answer.first_token_ns, answer.answer_token_ns, answer.last_token_ns) == (2_000_000, 3_000_000, 4_000_000)
    assert list(answer.gaps_us) == [1000, 1000]
    assert answer.finish_reasons == ("stop",)


def test_an_end_stands_though_the_connection_breaks_after_it():
    """After `[DONE]` nothing is missing; a finish reason alone needs a clean end."""
    assert read(BODY, whole=False).failure == ""
    assert read(stream(*GOOD[:-1]), whole=False).failure == "cut_stream"
    assert read(BODY[:-1], whole=False).failure == "cut_stream"


def test_a_choice_that_has_not_ended_is_no_end():
    """With two choices, one finish reason is not enough."""
    second = {**A, "choices": [{"index": 1, "delta": {"content": "x"}, "finish_reason": None}]}
    assert read(stream(A, second, delta("stop"))).failure == "cut_stream"
    assert not read(stream(A, second, delta("stop"), b"[DONE]")).complete
    assert read(stream(A, delta("stop"))).failure == ""


def chat(reason, index=0, **message):
    return {"index": index, "message": message, "finish_reason": reason}


def response(status, *items):
    return {"status": status, "output": list(items)}


def said(text):
    return {"type": "message", "content": [{"type": "output_text", "text": text}]}


OK = chat("stop", content="a")
CALL = {"id": "t", "function": {"name": "f"}}
HIDDEN = {"completion_tokens_details": {"reasoning_tokens": 9}}
COUNTS = {"prompt_tokens": 7, "completion_tokens": 3}


def counted(out_tok: int) -> dict[str, int]:
    return {"input_tokens": 1, "output_tokens": out_tok}


PLAIN = [
    ("chat", {"choices": [OK], "usage": COUNTS}, "", True),
    ("", {"choices": [OK]}, "", True),
    ("chat", {"choices": [chat("tool_calls", content=None, tool_calls=[CALL])]}, "", True),
    ("chat", {"choices": [chat("stop", content="", refusal="No.")]}, "", True),
    ("chat", {"choices": [chat("length", content="a")]}, "", False),
    ("chat", {"choices": [chat("content_filter", content="")]}, "", False),
    ("chat", {"choices": [chat(None, content="a")]}, "", False),
    ("chat", {"choices": [OK, chat("length", 1, content="a")]}, "", False),
    ("chat", {"choices": [chat("length", content="", reasoning_content="hm")]}, "", False),
    ("chat", {"choices": [chat("length", content="")], "usage": HIDDEN}, "", False),
    ("chat", {"choices": [chat("stop", content="")]}, "empty_answer", False),
    ("chat", {"choices": []}, "empty_answer", False),
    ("chat", {"choices": None}, "empty_answer", False),
    ("chat", {"choices": [7]}, "empty_answer", False),
    ("chat", {"choices": [chat("error", content="a")]}, "error_body", False),
    ("chat", {"choices": [OK], "error": {"message": "no"}}, "error_body", False),
    ("chat", {"object": "error", "message": "no"}, "error_body", False),
    ("chat", [], "bad_body", False),
    ("chat", "text", "bad_body", False),
    ("completions", {"choices": [{"text": "a", "finish_reason": "stop"}]}, "", True),
    ("completions", {"choices": [{"text": "", "finish_reason": "stop"}]}, "empty_answer", False),
    ("responses", response("completed", said("a")), "", True),
    ("responses", {"status": "completed", "output": [{"type": "function_call", "name": "f"}]}, "", True),
    ("responses", response("completed", said("")), "empty_answer", False),
    ("responses", {"status": "incomplete", "output": [{"type": "reasoning"}]}, "", False),
    ("responses", {"status": "in_progress", "output": []}, "", False),
    ("responses", {"status": "failed", "error": None}, "error_body", False),
    ("responses", {"status": "completed", "output": []}, "empty_answer", False),
    ("", {"object": "response", "status": "completed", "output": []}, "empty_answer", False),
    ("responses", {"status": "completed", "output": [], "usage": counted(1)}, "", True),
    ("responses", {"status": "completed", "output": [], "usage": counted(0)}, "empty_answer", False),
    ("responses", {"status": "completed", "output": None, "usage": counted(1)}, "empty_answer", False),
    ("responses", {"status": "incomplete", "output": [], "usage": counted(1)}, "empty_answer", False),
    ("embeddings", {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 7}}, "", True),
    ("embeddings", {"data": []}, "empty_answer", False),
    ("", {"status": "ok"}, "", False),
]  # fmt: skip


@pytest.mark.parametrize(("api", "document", "failure", "complete"), PLAIN)
def test_a_plain_answer_is_whole_empty_or_an_error(api, document, failure, complete):
    """Only an answer that is complete may be cached; an error or nothing at all is a failure."""
    answer = read(orjson.dumps(document), streamed=False, api=api)
    assert (answer.failure, answer.complete) == (failure, complete)


def test_a_plain_answer_counts_its_tokens_and_no_chunks():
    """Usage and model are read; there are no times of tokens."""
    body = orjson.dumps({"model": "m", "choices": [OK], "usage": COUNTS})
    answer = read(body[:9], body[9:], streamed=False)
    assert (answer.usage, answer.model, answer.chunks, answer.first_token_ns) == (Usage(True, 7, 3), "m", 0, 0)
    assert len(answer.gaps_us) == 0


def test_what_only_the_sdk_accepts_is_read():
    """NaN and half a surrogate pair are JSON for Python's parser, and so for the SDK; more is not."""
    body = b'{"choices":[{"message":{"content":"\\ud800"},"logprob":NaN,"finish_reason":"stop"}]}'
    assert read(body, streamed=False).complete
    assert read(body[:-1], streamed=False).failure == "bad_body"
    assert read(b"[" * 100_000, streamed=False).failure == "bad_body"
    assert read(b"", streamed=False).failure == "bad_body"
    assert read(b"{}", streamed=False, whole=False).failure == "reset"


ATOMS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=3)
NAMES = st.sampled_from(
    ("choices", "index", "finish_reason", "delta", "message", "content", "usage", "prompt_tokens", "model", "error",
     "type", "response", "status", "data", "output", "tool_calls", "function", "audio", "refusal", "item", "text",
     "reasoning", "prompt_tokens_details", "cached_tokens")
)  # fmt: skip
ANY = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=12
)


@settings(max_examples=scaled(1000, 100))
@given(st.lists(ANY, max_size=4), st.sampled_from(["chat", "responses", "embeddings", "completions", ""]))
def test_any_json_is_read(documents, api):
    """No document of a provider raises an error; counts are numbers that fit."""
    for answer in (
        read(stream(*documents, b"[DONE]"), api=api),
        *(read(orjson.dumps(one), streamed=False, api=api) for one in documents),
    ):
        assert all(0 <= count < 2**31 for count in answer.usage[1:])
        assert isinstance(answer.model, str)
        assert all(isinstance(reason, str) for reason in answer.finish_reasons)
        assert not (answer.failure and answer.complete)
