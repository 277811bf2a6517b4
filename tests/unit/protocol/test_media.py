"""Media types by RFC 9110."""

import pytest

from tailrace.protocol.media import is_event_stream, is_json

STREAMS = ["text/event-stream", "Text/Event-Stream; charset=UTF-8", " text/event-stream\t;x", b"TEXT/EVENT-STREAM"]
JSON = ["application/json", "Application/JSON;charset=utf-8", b"application/json", "application/problem+json"]
OTHERS = ["", "text/event-streams", "text/plain; x=text/event-stream", "application/jsonl", b"text/html"]


@pytest.mark.parametrize("content_type", STREAMS)
def test_a_stream_is_known_by_its_type(content_type):
    """Case, parameters and blanks do not matter."""
    assert is_event_stream(content_type)
    assert not is_json(content_type)


@pytest.mark.parametrize("content_type", JSON)
def test_json_is_known_by_its_type(content_type):
    """Also by the suffix of a type of its own."""
    assert is_json(content_type)
    assert not is_event_stream(content_type)


@pytest.mark.parametrize("content_type", OTHERS)
def test_other_types_are_neither(content_type):
    """Negative control: a longer name, or the name in a parameter, is another type."""
    assert not is_event_stream(content_type)
    assert not is_json(content_type)
