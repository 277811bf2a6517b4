"""Server-sent events by the WHATWG standard."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth import scaled
from tailrace.protocol.events import Event, EventParser

STANDARD = [
    (b"data: a\n\n", [Event(b"a")]),
    (b"data:a\n\n", [Event(b"a")]),
    (b"data:  a\n\n", [Event(b" a")]),
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event(b"YHOO\n+2\n10")]),
    (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
     [Event(b"first event", "", "1"), Event(b"second event"), Event(b" third event")]),
    (b"data\n\ndata\ndata\n\ndata:", [Event(b""), Event(b"\n")]),
    (b"event: add\ndata: 1\n\ndata: 2\n\n", [Event(b"1", "add"), Event(b"2")]),
    (b"event: add\n\ndata: 2\n\n", [Event(b"2")]),
    (b"id: 1\n\ndata: a\n\nid: 2\ndata: b\n\n", [Event(b"a", "", "1"), Event(b"b", "", "2")]),
    (b"id: 1\ndata: a\n\nid: x\0y\ndata: b\n\n", [Event(b"a", "", "1"), Event(b"b", "", "1")]),
    (b"retry: 10\n\n", []),
    (b"Data: a\n\n data: a\n\n", []),
    (b"data: a\r\rdata: b\r\n\r\ndata: c\r\n\n", [Event(b"a"), Event(b"b"), Event(b"c")]),
    (b"data: a\rdata: b\r\n\n", [Event(b"a\nb")]),
    (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),
    (b"data: a", []),
    (b"data: a\n", []),
]  # fmt: skip


def parsed(*pieces):
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.close()


@pytest.mark.parametrize(("body", "events"), STANDARD)
def test_events_are_those_of_the_standard(body, events):
    """The standard's own examples, and its rules for fields, line ends and the byte order mark."""
    assert parsed(body) == events


LINE = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"event: x", b"id: 1", b"id: 2", b": ping", b"", b"", b"data: [DONE]", b"c",
     b"\xef\xbb\xbf"]
)  # fmt: skip
BODIES = st.lists(st.tuples(LINE, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=12).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


@settings(max_examples=scaled(2000, 200))
@given(BODIES, st.lists(st.integers(0, 200), max_size=8))
def test_any_cutting_gives_the_same_events(body, cuts):
    """Where the bytes are cut does not matter, not even inside of a line end or of the byte order mark."""
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    pieces = [body[start:end] for start, end in pairwise(places)]
    assert parsed(*pieces) == parsed(body) == parsed(*(bytes([byte]) for byte in body))


@settings(max_examples=scaled(500, 50))
@given(BODIES)
def test_line_ends_are_the_same(body):
    """LF, CR and CRLF mean the same."""
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert parsed(lines) == parsed(lines.replace(b"\n", b"\r\n")) == parsed(lines.replace(b"\n", b"\r"))


@pytest.mark.parametrize("last", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r", b"data:[DONE]\r\n"])
def test_the_terminator_needs_no_blank_line_at_a_clean_end(last):
    """`[DONE]` counts at the end; another event without its blank line does not."""
    assert [event.data for event in parsed(b"data: a\n\n", last)] == [b"a", b"[DONE]"]
    assert [event.data for event in parsed(b"data: a\n\n", last.replace(b"[DONE]", b"{}"))] == [b"a"]


def test_an_event_that_is_too_large_is_dropped():
    """Memory stays bounded, in one line or in many; the events around it are read."""
    for filler in (b"x" * 1000, b"x\ndata: " * 100):
        parser = EventParser(most_bytes=10_000)
        events = parser.feed(b"data: a\n\ndata: ")
        for _ in range(1000):
            events += parser.feed(filler)
            assert sum(map(len, parser._line)) + sum(map(len, parser._data)) < 12_000
        events += parser.feed(b"\ndata: y\n\ndata: b\n\n")
        assert events == [Event(b"a"), Event(b"b")]
        assert parser.dropped == 1


def test_a_large_event_within_the_limit_is_kept():
    """Negative control: below the limit it is whole."""
    parser = EventParser(most_bytes=10_000)
    assert [*parser.feed(b"data: "), *parser.feed(b"x" * 9000), *parser.feed(b"\n\n")] == [Event(b"x" * 9000)]
