"""The JSON body of a request, and whether every parser reads the same in it."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.request import envelope
from tailrace.client.request.document import NONE, parsed
from tailrace.client.request.guard import Guard, objection
from tailrace.client.request.key import cache_key
from tailrace.client.request.parsed import parse
from tailrace.client.wire import Request

URL = "https://api.example/v1/chat/completions"


def key(body):
    """Return the cache key of `body`."""
    request = read(body)
    return cache_key(b"", body, request.document if request.exact else None)


def read(body):
    request = Request("POST", URL, (), body)
    return parse(request, envelope.read(request))


SAME = [
    (b'{"a":1,"b":[2]}', b'{ "b" : [2],\n "a" : 1 }'),
    (b'{"a":"\xc3\xa9"}', b'{"a":"\\u00e9"}'),
    (b'{"a":1.0}', b'{"a": 1.00}'),
    (b'{"a":1e-7}', b'{"a":1e-07}'),
    (b'{"messages":[{"role":"user","content":"x"}]}', b'{"messages":[{"content":"x","role":"user"}]}'),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_how_it_is_written_does_not_matter(one, other):
    """White space, escapes, the order of arguments and trailing zeros do not change the key."""
    assert key(one) == key(other)


OTHER = [
    (b'{"a":1}', b'{"a":1.0}'),
    (b'{"a":1}', b'{"a":true}'),
    (b'{"a":1}', b'{"a":"1"}'),
    (b'{"a":null}', b"{}"),
    (b'{"a":0.0}', b'{"a":-0.0}'),
    (b'{"a":"\xc3\xa9"}', b'{"a":"e\xcc\x81"}'),
    (b'{"a":18446744073709551616}', b'{"a":18446744073709551617}'),
    (b'{"a":18446744073709551616}', b'{"a":18446744073709551616.0}'),
    (b'{"a":0.1}', b'{"a":0.1000000000000000055}'),
    (b'{"a":1,"a":2}', b'{"a":2}'),
    (b'{"a":2,"a":1,"a":2}', b'{"a":1,"a":2}'),
    (b'{"a":{"b":1,"b":2}}', b'{"a":{"b":2}}'),
    (b'{"response_format":{"x":1,"y":2}}', b'{"response_format":{"y":2,"x":1}}'),
    (b'{"tools":[{"x":1,"y":2}]}', b'{"tools":[{"y":2,"x":1}]}'),
    (b'{"guided_json":{"x":1,"y":2}}', b'{"guided_json":{"y":2,"x":1}}'),
    (b'{"a":[1,2]}', b'{"a":[2,1]}'),
]


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_may_be_read_otherwise_is_another_request(one, other):
    """Types of numbers, digits beyond a float, repeated names and the order of a schema change the key."""
    assert key(one) != key(other)
    assert key(one) == key(bytes(one))


def test_a_parser_alone_would_mix_them_up():
    """Negative control: a key of the parsed body alone mixes up two requests."""
    mixed = [pair for pair in OTHER if orjson.loads(pair[0]) == orjson.loads(pair[1])]
    assert len(mixed) >= 8


deep = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), deep, max_size=4), st.booleans(), st.booleans())
def test_a_body_is_exact_when_it_can_be_written_again(fields, ascii, spaced):
    """An exact body is the same document as its parsed form, to the last digit, however it is written."""
    text = json.dumps(fields, ensure_ascii=ascii, separators=(", ", ": ") if spaced else (",", ":"))
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return
    found, exact, doubt = parsed(body)
    if "Infinity" in text or "\\ud" in text:
        return
    assert doubt is None
    assert not exact or found == fields


def test_a_body_in_doubt_is_refused_and_never_deterministic():
    """The guard refuses a repeated name and very deep nesting; without the guard, the answer is not cached."""
    for body in (b'{"temperature":1,"temperature":0}', b'{"temperature":0,"a":' + b"[" * 900 + b"]" * 900 + b"}"):
        request = read(body)
        assert not request.deterministic
        assert objection(Guard(), body, request.document, request.doubt).where == "body"
        assert len(key(body)) == 64
    assert read(b'{"temperature":0}').deterministic


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a":NaN}', b'{"a":"\\ud800"}', b"[" * 2000, b"\xff"])
def test_what_is_no_object_is_none(body):
    """Anything but one complete JSON object gives NONE."""
    assert parsed(body) == NONE
