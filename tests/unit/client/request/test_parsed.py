"""Parsed requests: the operation, whether it is deterministic, and the caller's cache-control."""

import orjson
import pytest

from tailrace.client.context import NOWHERE, current, limits
from tailrace.client.request import envelope
from tailrace.client.request.envelope import Wishes, wishes
from tailrace.client.request.parsed import parse
from tailrace.client.wire import Request


def request(document, path="/chat/completions", headers=(), method="POST"):
    return Request(method, f"https://h:1/v1{path}", headers, orjson.dumps(document))


def read(request):
    return parse(request, envelope.read(request))


DETERMINISTIC = [
    ({"temperature": 0}, "/chat/completions", True),
    ({"temperature": 0.0}, "/chat/completions", True),
    ({}, "/chat/completions", False),
    ({"temperature": 1}, "/chat/completions", False),
    ({"temperature": None}, "/chat/completions", False),
    ({"temperature": False}, "/chat/completions", False),
    ({"temperature": "0"}, "/chat/completions", False),
    ({"temperature": 0, "web_search_options": {}}, "/chat/completions", False),
    ({"temperature": 0, "store": True}, "/chat/completions", False),
    ({"temperature": 0, "tools": [{"type": "function"}]}, "/chat/completions", True),
    ({"temperature": 0, "tools": [{"type": "web_search"}]}, "/responses", False),
    ({"temperature": 0, "previous_response_id": "r"}, "/responses", False),
    ({"temperature": 0}, "/responses", True),
    ({"input": "x"}, "/embeddings", True),
]


@pytest.mark.parametrize(("document", "path", "deterministic"), DETERMINISTIC)
def test_only_what_is_explicitly_deterministic_is(document, path, deterministic):
    """The temperature is the number 0, or it is an embedding, and nothing depends on the provider's state."""
    assert read(request(document, path)).deterministic is deterministic


def test_an_operation_is_read_from_the_path():
    """The end of the path names the operation, whatever the base URL; an unknown one is not parsed."""
    assert read(request({"model": "m"}, "/x/openai/deployments/d/chat/completions?v=1")).envelope.operation == "chat"
    assert read(request({}, "/completions")).envelope.operation == "text_completion"
    assert not read(request({}, "/files")).known
    assert not read(request([], "/embeddings")).known
    assert envelope.read(request({})).origin == "https://h:1"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, Wishes()), ("no-store", Wishes(False, False)), ("no-cache", Wishes(False, True)),
     ("max-age=60", Wishes(True, True, 60.0)), ("No-Cache, max-age=5", Wishes(False, True, 5.0)),
     ("max-age=x", Wishes(True, True, 0.0)), ("max-age=-1", Wishes(True, True, 0.0)),
     ("max-age", Wishes(True, True, 0.0)), ('max-age="60"', Wishes(True, True, 60.0)), ("max-stale=5", Wishes())],
)  # fmt: skip
def test_cache_control_is_the_callers_wish(value, expected):
    """`no-store`, `no-cache` and `max-age` are read in any case and combination; without a number the age is 0."""
    assert wishes(() if value is None else (("Cache-Control", value),)) == expected


def test_limits_nest():
    """The earlier deadline wins, the inner tenant counts, and both end with the block."""
    with limits(deadline_s=5, tenant="a"):
        outer = current()
        with limits(deadline_s=50, tenant="b"):
            assert current() == (outer.deadline_at, "b")
        with limits(deadline_s=1):
            assert current().deadline_at < outer.deadline_at
            assert current().tenant == "a"
    assert current() == NOWHERE
    with pytest.raises(ValueError, match="deadline_s=0"), limits(deadline_s=0):
        pass


def test_a_copy_shares_nothing_that_can_be_changed():
    """The fast copy equals pydantic's deep copy, and changing it does not change the original."""
    from openai.types.chat import ChatCompletion

    from tailrace.client.sdk.copies import copied

    made = ChatCompletion.construct(
        id="1", extra={"deep": [1, {"x": 2}]},
        choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
    )  # fmt: skip
    made._request_id = "req"
    before, new = made.model_copy(deep=True), copied(made)
    assert new == before == made
    assert new._request_id == "req"
    assert new.model_fields_set == made.model_fields_set
    assert type(new.choices[0]) is type(made.choices[0])
    new.choices[0].message.content = "changed"
    new.model_extra["extra"]["deep"][1]["x"] = 3
    new.choices.clear()
    assert made == before
