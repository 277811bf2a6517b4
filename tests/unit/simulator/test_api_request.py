"""The digest that decides a response."""

from dataclasses import replace

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given

from tailrace.simulator.api_request import ApiRequest

BODY = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
HEADERS = {"authorization": "Bearer one", "openai-organization": "o", "openai-project": "p", "user-agent": "a"}
PLAIN = ApiRequest("POST", "/v1/chat/completions", "", HEADERS, orjson.dumps(BODY), 0)

names = st.text(min_size=1, max_size=8)
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


def changed(**fields):
    return replace(PLAIN, body=orjson.dumps({**BODY, **fields}))


@pytest.mark.parametrize(
    "other",
    [
        changed(model="n"),
        changed(temperature=0.1),
        changed(messages=[{"role": "user", "content": "hi "}]),
        changed(messages=[{"role": "system", "content": "hi"}]),
        changed(top_k=1),
        changed(stream=False),
        replace(PLAIN, path="/v1/responses"),
        replace(PLAIN, query="a=1"),
        replace(PLAIN, deployment="d"),
        replace(PLAIN, headers={**HEADERS, "api-key": "another"}),
        *(replace(PLAIN, headers={**HEADERS, name: "another"}) for name in list(HEADERS)[:3]),
        *(replace(PLAIN, headers={k: v for k, v in HEADERS.items() if k != name}) for name in list(HEADERS)[:3]),
    ],
)
def test_what_matters_changes_the_digest(other):
    """Model, any parameter, the text, the path and the caller all change the digest."""
    assert other.digest(1) != PLAIN.digest(1)


def test_what_does_not_matter_leaves_the_digest():
    """The order of keys, white space and the user agent do not change the digest; the seed does."""
    shuffled = orjson.dumps(dict(reversed(BODY.items())), option=orjson.OPT_INDENT_2)
    same = replace(PLAIN, body=shuffled, headers={**HEADERS, "user-agent": "b"})
    assert same.digest(1) == PLAIN.digest(1)
    assert PLAIN.digest(2) != PLAIN.digest(1)


@given(st.dictionaries(names, json, max_size=4), st.dictionaries(names, json, max_size=4))
def test_two_bodies_have_equal_digests_only_if_they_are_equal(one, two):
    """The digests of two JSON objects are equal exactly when the objects are."""
    digests = {replace(PLAIN, body=orjson.dumps(body)).digest(1) for body in (one, two)}
    canonical = {orjson.dumps(body, option=orjson.OPT_SORT_KEYS) for body in (one, two)}
    assert len(digests) == len(canonical)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff"])
def test_a_body_that_is_not_an_object_has_no_content(body):
    """Anything but a JSON object has no content, and is not streamed."""
    request = replace(PLAIN, body=body)
    assert request.content is None
    assert not request.stream
