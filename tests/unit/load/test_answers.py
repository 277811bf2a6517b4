"""Bodies: what they say of tokens, and which of them are failures."""

import pytest

from tailrace.load.answers import BodyFacts, read_json, read_stream

USAGE = b'"usage": {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}'
DELTA = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


def test_chat_usage():
    """Tokens of a chat completion, cached ones apart."""
    assert read_json(b'{"choices": [], ' + USAGE + b"}") == BodyFacts("", 0, 5, 7, 2)


def test_responses_usage():
    """Tokens in the words of the responses API."""
    assert read_json(b'{"usage": {"input_tokens": 3, "output_tokens": 4}}') == BodyFacts("", 0, 3, 4, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"text"', b'{"error": {"message": "no"}}', b"\xff"])
def test_bad_bodies(body):
    """No JSON object, or an error under a good status, is a failure."""
    assert read_json(body).error_type == "bad_body"


@pytest.mark.parametrize("usage", [b"null", b"[]", b'{"prompt_tokens": "5"}', b'{"prompt_tokens_details": []}'])
def test_odd_usage_is_no_usage(usage):
    """What is not a count is zero, and never an exception."""
    assert read_json(b'{"usage": ' + usage + b"}") == BodyFacts()


def test_stream_with_everything():
    """Content chunks are counted; the role, the usage and the terminator are not content."""
    role = b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n'
    last = b'data: {"choices": [], ' + USAGE + b"}\n\n"
    assert read_stream(role + DELTA + DELTA + last + DONE) == BodyFacts("", 2, 5, 7, 2)


def test_stream_with_comments_and_crlf():
    """Comments are skipped, and lines may end in CRLF."""
    assert read_stream(b": ping\r\n\r\n" + DELTA.replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n") == BodyFacts("", 1)


def test_stream_of_the_responses_api():
    """Its terminator is an event of its own, with the usage in it."""
    delta = b'event: x\ndata: {"type": "response.output_text.delta", "delta": "a"}\n\n'
    end = b'data: {"type": "response.completed", "response": {"usage": {"input_tokens": 1, "output_tokens": 2}}}\n\n'
    assert read_stream(delta + end) == BodyFacts("", 1, 1, 2)
    assert read_stream(delta).error_type == "cut_stream"


def test_a_stream_without_its_terminator_is_cut():
    """However much of it came."""
    assert read_stream(DELTA * 5) == BodyFacts("cut_stream", 5)
    assert read_stream(b"").error_type == "cut_stream"


@pytest.mark.parametrize("event", [b'data: {"error": {"message": "no"}}\n\n', b"data: {oops\n\n", b"data: 3\n\n"])
def test_an_error_within_a_stream(event):
    """An error object or broken JSON in a stream is a failure, even when a terminator follows."""
    assert read_stream(DELTA + event + DONE).error_type == "bad_body"
