"""A stream is read while it passes, and kept for the cache within its limit."""

from event_streams import GOOD, stream
from tailrace.client.response.watch import StreamWatch
from tailrace.protocol.answer import AnswerReader
from tailrace.protocol.reading import NO_ANSWER

BODY = stream(*GOOD)


def watched(*chunks, max_bytes=1 << 20, reader=True):
    times = iter(range(1, 10_000))
    watch = StreamWatch(AnswerReader(True) if reader else None, max_bytes, lambda: next(times) / 1000)
    for chunk in chunks:
        watch.feed(chunk)
    return watch


def test_the_chunks_are_kept_as_they_came():
    """The cache gets the same pieces, and the reader what they say, with the times at which they passed."""
    watch = watched(BODY[:50], BODY[50:])
    assert watch.whole == (BODY[:50], BODY[50:])
    answer = watch.end(True)
    assert (answer.complete, answer.chunks, answer.first_token_ns) == (True, 2, 2_000_000)


def test_a_stream_too_large_is_not_kept():
    """Beyond its limit a stream is only read: memory stays bounded, and the usage is still found."""
    watch = watched(*[b": " + b"x" * 100_000 + b"\n\n"] * 50, BODY, max_bytes=1_000_000)
    assert watch.whole is None
    assert watch._chunks == []
    assert watch.end(True).usage.in_tok == 7


def test_a_stream_that_is_not_wanted_is_not_kept():
    """Without a cache nothing is kept at all."""
    assert watched(BODY, max_bytes=0).whole is None
    assert watched(BODY, max_bytes=0).end(True).complete


def test_a_stream_of_another_kind_is_not_read():
    """A file passes, and says nothing about tokens."""
    assert watched(BODY, reader=False).end(True) is NO_ANSWER
