"""Answers: what their heads and their broken ends mean. Bodies are `tests/unit/protocol`."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.load import recorder
from tailrace.load.answers import judge, number, reader_of
from tailrace.load.http1 import GARBAGE, RESET, HttpAnswer
from tailrace.load.outcome import RequestOutcome

CHAT = b'{"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 7}}'
ROLE = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
THOUGHT = b'data: {"choices": [{"delta": {"reasoning": "hm"}}]}\n\n'
TOKEN = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = b"text/event-stream"


def answered(*parts: bytes, status: int = 200, broken: str = "", **headers: bytes) -> RequestOutcome:
    """The outcome of an answer whose n-th part came at n ms."""
    reply = HttpAnswer()
    reply.status, reply.broken, reply.whole = status, broken, not broken
    reply.headers = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    reply.reader = reader_of("chat")(reply)
    for n, part in enumerate(parts, 1):
        if reply.reader is not None:
            reply.reader.feed(part, n * 10**6)
    return judge(reply)


def test_times_of_tokens():
    """The first token, the first of the answer and the last are those of the parts that carry them, and so are gaps."""
    outcome = answered(ROLE, THOUGHT, TOKEN, USAGE, TOKEN + TOKEN, DONE, content_type=STREAM)
    assert (outcome.error_type, outcome.chunks, outcome.in_tok, outcome.out_tok) == ("", 4, 5, 7)
    assert (outcome.first_ns, outcome.answer_ns, outcome.token_ns) == (2 * 10**6, 3 * 10**6, 5 * 10**6)
    assert list(outcome.gaps_us) == [1_000, 2_000, 0]


@pytest.mark.parametrize("kind", [b"Text/Event-Stream; charset=UTF-8", b"text/event-stream ;x=1", STREAM])
def test_media_types(kind: bytes):
    """A media type is compared without its parameters, blanks and case."""
    assert answered(TOKEN, DONE, content_type=kind).chunks == 1
    assert answered(TOKEN, DONE, content_type=b"text/plain").error_type == "bad_body"


def test_encodings_that_nobody_asked_for():
    """A body that is compressed is read, plain or streamed; one in an unknown encoding is not."""
    assert answered(zlib.compress(CHAT), content_encoding=b"deflate").out_tok == 7
    stream = zlib.compress(TOKEN + DONE)
    assert answered(stream[:9], stream[9:], content_type=STREAM, content_encoding=b"deflate").chunks == 1
    assert answered(CHAT, content_encoding=b"br").error_type == "bad_body"


@pytest.mark.parametrize(
    ("parts", "more", "expected"),
    [
        ([CHAT], {}, ""),
        ([CHAT[:-9]], {"broken": RESET}, "reset"),
        ([zlib.compress(CHAT)[:-9]], {"broken": RESET, "content_encoding": b"deflate"}, "reset"),
        ([], {"broken": RESET, "status": 0}, "reset"),
        ([CHAT], {"broken": GARBAGE}, "bad_body"),
        ([CHAT], {"status": 503}, "http_503"),
        ([CHAT], {"status": 503, "broken": RESET}, "reset"),
        ([TOKEN], {"content_type": STREAM}, "cut_stream"),
        ([TOKEN], {"content_type": STREAM, "broken": RESET}, "cut_stream"),
        ([TOKEN, DONE], {"content_type": STREAM, "broken": RESET}, ""),
        ([DONE], {"content_type": STREAM}, "empty_answer"),
        ([TOKEN, b'data: {"error": {"message": "no"}}\n\n', DONE], {"content_type": STREAM}, "error_event"),
        ([b'{"error": {"message": "no"}}'], {}, "error_body"),
    ],
)  # fmt: skip
def test_failures(parts: list[bytes], more: dict[str, object], expected: str):
    """Each way to fail has its class; a stream that said its end is whole, however its connection ended."""
    assert answered(*parts, **more).error_type == expected  # type: ignore[arg-type]


@given(st.binary(max_size=40) | st.integers(-5, 10**30).map(lambda n: str(n).encode()) | st.just(b"9" * 5_000))
def test_any_header_fits_its_column(value: bytes):
    """Whatever a peer writes where a number belongs, the recorder can keep it."""
    outcome = answered(CHAT, x_generation=value, x_tailrace_attempts=value, x_tailrace_cost_microusd=value)
    assert outcome.error_type == ""
    assert -1 <= outcome.generation <= np.iinfo(recorder.TYPES["generation"]).max
    assert -1 <= outcome.attempts <= np.iinfo(recorder.TYPES["attempts"]).max
    assert outcome.cost_microusd >= -1


def test_numbers():
    """Numbers are read, and what is none is the default."""
    assert [number(value, -1) for value in (b"12", "12", b"", b"-3", "\u0663", b"1e3", None)] == [12, 12] + [-1] * 5


def test_a_label_is_short():
    """A peer cannot fill the memory with the name of a release."""
    assert len(answered(CHAT, x_release=b"r" * 60_000).release) == 100


def test_a_label_holds_nothing_that_a_terminal_obeys():
    """A colour is printed: control characters of both kinds become "?", and letters stay."""
    assert answered(CHAT, x_colour=b"\x1b]0;a\x07 \x9b2J").colour == "?]0;a? ?2J"
    assert answered(CHAT, x_colour="blü".encode("latin-1")).colour == "blü"
