"""The HTTP client as a protocol: the same bytes mean the same, however they arrive."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.load import http1
from tailrace.load.http1 import HttpAnswer, HttpConnection

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nX-Colour: blue\r\nx-other: 1\r\n"
LENGTH = HEAD + b"content-length: 11\r\n\r\nhello world"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH
UNTIL_EOF = HEAD + b"\r\nhello world"
FORMS = st.sampled_from([LENGTH, CHUNKED, CONTINUE, UNTIL_EOF])


class Body:
    """A reader that keeps the body, and the times of its parts; the word "over" ends it early."""

    def __init__(self) -> None:
        self.data, self.times_ns = b"", list[int]()

    @property
    def over(self) -> bool:
        return self.data.endswith(b"over")

    def feed(self, data: bytes, at_ns: int) -> None:
        if data == b"bug":
            raise KeyError("a bug of the reader")
        self.data += data
        self.times_ns.append(at_ns)


def read(reply: HttpAnswer) -> bytes:
    assert isinstance(reply.reader, Body)
    return reply.reader.data


class Wire(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written.append(data)

    def abort(self) -> None:
        self.aborted = True


def exchange(answers: Sequence[Sequence[bytes]], *, eof: bool = False) -> tuple[list[HttpAnswer], HttpConnection]:
    """One request after the other on one connection, each answered in these pieces."""

    async def go() -> tuple[list[HttpAnswer], HttpConnection]:
        connection, replies = HttpConnection(), []
        connection.connection_made(Wire())
        for pieces in answers:
            waiter = connection.request(b"POST", lambda _: Body())
            for piece in pieces:
                connection.data_received(piece)
            if eof:
                connection.eof_received()
                connection.connection_lost(None)
            replies.append(await asyncio.wait_for(waiter, 60))
        return replies, connection

    return asyncio.run(go())


def split(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places) if a < b]


@given(FORMS, st.lists(st.integers(0, 500), max_size=12))
def test_pieces_do_not_matter(form: bytes, cuts: list[int]):
    """Wherever the stream is cut into pieces, the answer is the same."""
    (reply,), _ = exchange([split(form, cuts)], eof=form is UNTIL_EOF)
    assert (reply.status, read(reply), reply.whole) == (200, b"hello world", True)
    assert reply.headers[b"x-colour"] == b"blue"
    assert b"x-other" not in reply.headers
    assert 0 < reply.byte_ns <= reply.last_ns


@given(st.sampled_from([LENGTH, CHUNKED]), st.integers(0, 200))
def test_an_early_end_is_broken(form: bytes, cut: int):
    """An answer that ends before its end is never taken for whole."""
    (reply,), connection = exchange([[form[: cut % len(form)]]], eof=True)
    assert (reply.whole, reply.broken) == (False, "reset")
    assert not connection.usable


def test_a_connection_is_used_again():
    """After a whole answer the next request goes over the same connection."""
    replies, connection = exchange([[LENGTH], [CHUNKED], [CONTINUE]])
    assert [read(reply) for reply in replies] == [b"hello world"] * 3
    assert connection.usable


def test_bytes_that_arrive_together_have_one_time():
    """Chunks of one segment have the time of that segment, and chunks of several have each its own."""
    head, first, rest = CHUNKED.partition(b"6\r\n")
    second = first + rest[:6]
    (together,), _ = exchange([[CHUNKED]])
    (apart,), _ = exchange([[head, second, rest[6:]]])
    assert isinstance(together.reader, Body)
    assert isinstance(apart.reader, Body)
    assert together.reader.times_ns == [together.byte_ns] * 2
    assert apart.reader.times_ns[0] == apart.byte_ns < apart.reader.times_ns[1]


def test_an_error_of_the_reader_is_not_taken_for_noise():
    """A reader that raises is a bug to look at: the request raises it, and the connection is not used again."""
    with pytest.raises(KeyError, match="a bug of the reader"):
        exchange([[HEAD + b"content-length: 3\r\n\r\nbug"]])


def test_a_body_that_says_no_more_is_left(monkeypatch: pytest.MonkeyPatch):
    """Without its end, a body that is over is whole, as of the time when it was over; its connection is closed."""
    monkeypatch.setattr(http1, "END_WITHIN_S", 0.01)
    (reply,), connection = exchange([[HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\nover\r\n"]])
    assert (reply.whole, read(reply), reply.last_ns) == (True, b"over", reply.byte_ns)
    assert not connection.usable


def test_a_body_that_is_over_and_ends_keeps_its_connection():
    """Its end comes later than its last word, and the next request goes over the same connection."""
    pieces = [HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\nover\r\n", b"0\r\n\r\n"]
    replies, connection = exchange([pieces, pieces])
    assert [read(reply) for reply in replies] == [b"over", b"over"]
    assert connection.usable


def test_blanks_and_repeated_encodings():
    """A value has no blanks around it, and encodings that are given one by one are applied in their order."""
    head = HEAD.replace(b"x-other: 1", b"content-encoding: deflate \t\r\nContent-Encoding:  gzip")
    (reply,), _ = exchange([[head + b"content-length: 0\r\n\r\n"]])
    assert reply.headers[b"content-encoding"] == b"deflate, gzip"


def test_connection_close_is_respected():
    """A connection that the server announces to close is not used again."""
    _, connection = exchange([[LENGTH.replace(b"x-other: 1", b"connection: close")]])
    assert not connection.usable


@given(st.binary(min_size=1, max_size=60))
def test_noise_is_never_an_answer(noise: bytes):
    """Bytes that are not HTTP end the connection, and raise nothing."""
    (reply,), connection = exchange([[b"\x00" + noise]], eof=True)
    assert not reply.whole
    assert not connection.usable


def test_asking_on_a_dead_connection_is_a_reset():
    """A connection that was lost answers at once, broken."""

    async def go() -> HttpAnswer:
        connection = HttpConnection()
        connection.connection_made(Wire())
        connection.connection_lost(None)
        return await connection.request(b"POST")

    assert asyncio.run(go()).broken == "reset"


FLOODS = {
    "head": HEAD + b"x-a: " + b"x" * http1.MOST_FRAMING_BYTES,
    "many headers": HEAD + b"x-a: b\r\n" * (http1.MOST_FRAMING_BYTES // 8),
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" * (http1.MOST_FRAMING_BYTES // 20),
    "extension": HEAD + b"transfer-encoding: chunked\r\n\r\n5;a=" + b"x" * http1.MOST_FRAMING_BYTES,
    "trailer": CHUNKED[:-2] + b"x-a: " + b"x" * 2 * http1.MOST_FRAMING_BYTES,
}


@pytest.mark.parametrize("flood", FLOODS)
def test_what_frames_an_answer_is_bounded(flood: str):
    """A peer that never ends its head, its interim answers or its trailers is left, before memory grows."""
    data = FLOODS[flood]
    (reply,), connection = exchange([[data[n : n + 4096] for n in range(0, len(data), 4096)]])
    assert (reply.whole, reply.broken, connection.usable) == (False, "garbage", False)


def test_chunks_of_one_byte_are_no_flood():
    """The negative control: an answer with five bytes of framing for each one of its body is read whole."""
    count = http1.MOST_FRAMING_BYTES
    data = HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * count + b"0\r\n\r\n"
    (reply,), connection = exchange([[data[n : n + 4096] for n in range(0, len(data), 4096)]])
    assert (reply.whole, len(read(reply)), connection.usable) == (True, count, True)


def test_an_answer_that_nobody_asked_for_ends_the_connection():
    """Two answers to one request: the second is not taken for that of the next request."""
    (reply,), connection = exchange([[LENGTH + LENGTH]])
    assert (reply.whole, connection.usable) == (True, False)
    (reply,), connection = exchange([[LENGTH]])
    assert (reply.whole, connection.usable) == (True, True)
