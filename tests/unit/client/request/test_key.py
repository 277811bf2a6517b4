"""The cache key depends on everything that can change an answer, and on nothing else."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth import scaled
from tailrace.client.request import envelope
from tailrace.client.request.key import asker, cache_key, canonical
from tailrace.client.request.key_headers import neutral
from tailrace.client.wire import Request

URL = "https://api.example/v1/chat/completions"
AUTH = (("authorization", "Bearer one"), ("openai-organization", "org"), ("openai-project", "proj"))
atoms = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.dictionaries(
    st.text(max_size=8),
    st.recursive(atoms | st.text(max_size=12), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(max_size=4), inner, max_size=3), max_leaves=8),
    max_size=5,
)  # fmt: skip


def key(document, headers=AUTH, url=URL, tenant="", namespace="", method="POST"):
    body = orjson.dumps(document)
    return cache_key(asker(method, url, headers, tenant, namespace), body, orjson.loads(body))


def backwards(value):
    if isinstance(value, dict):
        return {name: backwards(value[name]) for name in reversed(value)}
    return [backwards(item) for item in value] if isinstance(value, list) else value


@given(documents, documents)
def test_the_order_of_arguments_does_not_matter(document, message):
    """Arguments in another order have the same key, and so do the fields of a message."""
    asked = {**document, "messages": [message, message]}
    turned = {name: asked[name] for name in reversed(asked)} | {"messages": backwards(asked["messages"])}
    assert key(asked) == key(turned)


@given(documents)
def test_the_order_within_a_schema_does(document):
    """A model fills in a schema in its order, so a schema in another order is another request, wherever it is."""
    text = orjson.dumps(document)
    for place in ("response_format", "text", "tools", "functions", "guided_json"):
        same = orjson.dumps(backwards(document)) == text
        assert (key({place: document}) == key({place: backwards(document)})) is same


@settings(max_examples=scaled(200, 30))
@given(st.lists(documents, min_size=2, max_size=12))
def test_no_two_documents_share_a_key(several):
    """Two bodies have the same key only when they are the same JSON; 1 and 1.0 differ."""
    by_key = {}
    for document in several:
        text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
        assert by_key.setdefault(key(document), text) == text


@given(documents, documents)
def test_a_key_of_the_prompt_alone_is_refuted(one, other):
    """Negative control: a key without the model gives two models the same answer; the real key does not."""
    first, second = {**one, "model": "a"}, {**one, "model": "b"}
    without = [canonical({name: value for name, value in d.items() if name != "model"}) for d in (first, second)]
    assert without[0] == without[1]
    assert key(first) != key(second)


CASES = {
    "tenant": {"tenant": "acme"},
    "namespace": {"namespace": "team"},
    "url": {"url": URL.replace("api", "eu")},
    "method": {"method": "PUT"},
    "credential": {"headers": (("authorization", "Bearer two"), *AUTH[1:])},
    "no credential": {"headers": AUTH[1:]},
    "organisation": {"headers": (AUTH[0], ("openai-organization", "other"), AUTH[2])},
    "project": {"headers": (*AUTH[:2], ("openai-project", "other"))},
    "azure key": {"headers": (*AUTH, ("api-key", "x"))},
    "beta": {"headers": (*AUTH, ("openai-beta", "assistants=v2"))},
    "session cookie": {"headers": (*AUTH, ("cookie", "session=1"))},
}


@pytest.mark.parametrize("change", CASES.values(), ids=CASES.keys())
def test_whatever_may_change_the_answer_changes_the_key(change):
    """Tenant, namespace, URL, method, credentials and every header that is not neutral are in the key."""
    assert key({"model": "m"}, **change) != key({"model": "m"})


def test_all_of_them_are_different():
    """No two of these changes give the same key: each part is framed by its length."""
    keys = [key({"model": "m"}, **change) for change in CASES.values()]
    assert len(set(keys)) == len(keys)
    assert key({}, tenant="ab", namespace="c") != key({}, tenant="a", namespace="bc")


@pytest.mark.parametrize(
    "header",
    [("user-agent", "x"), ("x-stainless-os", "Linux"), ("traceparent", "00-1"), ("X-Request-Id", "7"),
     ("idempotency-key", "1"), ("cookie", "__cf_bm=1; _cfuvid=2"), ("x-forwarded-for", "1.2.3.4")],
)  # fmt: skip
def test_what_is_about_the_way_is_not_in_the_key(header):
    """Headers about the transport of a request do not change the key."""
    assert key({}, headers=(*AUTH, header)) == key({})


def test_a_cookie_that_may_say_who_asks_is_not_neutral():
    """A load balancer's cookie is not neutral when another cookie stands beside it."""
    assert not neutral("cookie", "__cf_bm=1; session=2")


def test_names_and_values_of_headers_are_framed():
    """The key separates names from values, and keeps the order of repeated headers, but no other order."""
    assert key({}, headers=(("x-a", "b=c"),)) != key({}, headers=(("x-a=b", "c"),))
    assert key({}, headers=(("x-a", "1"), ("x-a", "2"))) != key({}, headers=(("x-a", "2"), ("x-a", "1")))
    assert key({}, headers=(("x-a", "1"), ("x-b", "2"))) == key({}, headers=(("X-B", "2"), ("X-A", "1")))


def test_remembered_headers_make_the_same_key():
    """Remembered envelopes equal those that are read again, also when the memory is full."""
    remembering = envelope.reader("n")
    for turn in range(600):
        request = Request("POST", URL, (("authorization", f"Bearer {turn % 300}"),), b"{}")
        assert remembering("t", request.method, URL, request.headers) == envelope.read(request, "t", "n")
    assert remembering("u", "POST", URL, request.headers).asker != envelope.read(request, "t", "n").asker


def test_a_body_that_is_no_json_is_taken_as_it_is():
    """Raw bytes never share a key with a document of the same text."""
    assert cache_key(b"", b'{"a":1}', None) != cache_key(b"", b'{"a":1}', {"a": 1})
