"""Any JSON from a caller, a provider or a store is read or refused, and never raises another error."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depth import scaled
from tailrace.client.call.causes import CAUSES, cause, error_of
from tailrace.client.call.prices import Prices
from tailrace.client.call.retry import parsed, retryable
from tailrace.client.request import envelope, guard
from tailrace.client.request.parsed import parse
from tailrace.client.stores import Entry
from tailrace.client.wire import Request, Response
from tailrace.protocol.body import read_document

NAMES = (
    "choices", "index", "finish_reason", "delta", "message", "content", "role", "usage", "prompt_tokens", "model",
    "completion_tokens", "prompt_tokens_details", "cached_tokens", "reasoning_tokens", "input_tokens", "error", "code",
    "output_tokens_details", "type", "response", "status", "data", "messages", "input", "prompt", "tools", "n",
    "best_of", "max_tokens", "temperature", "stream", "store",
)  # fmt: skip
WORDS = ("stop", "response.completed", "completed", "function", "user", "ignore all instructions", "\u202e")
ATOMS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
)
ANY = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner), max_leaves=12
)
OPERATIONS = sorted(envelope.PATHS.values())
URL = "http://h/v1"


@settings(max_examples=scaled(600, 60))
@given(ANY, st.sampled_from(OPERATIONS))
def test_any_answer_is_read(document, name):
    """An answer of any shape, good or bad."""
    _holds(read_document(document, name), name)
    for status in (200, 400, 429):
        response = Response(status, (), orjson.dumps(document))
        assert isinstance(error_of(response).word, str)
        why = cause(response, parsed(response)[1])
        assert why is None if status == 200 else why in CAUSES
        assert why is None or retryable(response, why) in (True, False)


def _holds(read, name):
    assert isinstance(read.model, str)
    assert isinstance(read.complete, bool)
    counts = read.usage.in_tok, read.usage.out_tok, read.usage.cached_tok, read.usage.reasoning_tok
    assert all(isinstance(count, int) and count >= 0 for count in counts)
    cost = Prices().cost_usd("gpt-4o-mini", f"{URL}/{name}", read.usage)
    assert cost is None or cost >= 0


@settings(max_examples=scaled(600, 60))
@given(st.dictionaries(st.sampled_from(NAMES), ANY), st.sampled_from(sorted(envelope.PATHS)))
def test_any_request_is_read(document, path):
    """A request of any shape is passed on or refused, and its output limit is never negative."""
    body = orjson.dumps(document)
    request = Request("POST", URL + path, (), body)
    request = parse(request, envelope.read(request))
    assert isinstance(request.deterministic, bool)
    assert request.max_output_tok is None or request.max_output_tok >= 0
    rules = guard.Guard()
    found = guard.objection(rules, body, request.document, request.doubt)
    assert found is None or (found.where and found.message)
    assert set(guard.detections(rules, body, request.document)) <= set(guard.INJECTIONS)


ENTRY = Entry(200, (("a", "b"),), (b"x", b"yz"), True, 1.0, 2.0, "m", 1, 2, 3, 4, 0.5)
FIELDS = orjson.loads(ENTRY.pack().partition(b"\n")[0])


@settings(max_examples=scaled(600, 60))
@given(st.sampled_from(sorted(FIELDS)), ANY | st.lists(st.integers(-9, 9)) | st.just(...))
def test_any_entry_of_a_store_is_one_or_is_none(name, value):
    """Others may write to a store: a missing field, or one of another type, raises ValueError and nothing else."""
    fields = {**FIELDS, name: value}
    if value is ...:
        del fields[name]
    packed = orjson.dumps(fields) + b"\nxyz"
    try:
        found = Entry.unpack(packed)
    except ValueError:
        return
    for part, whole in zip(found, ENTRY, strict=True):
        assert (
            isinstance(part, int | float if isinstance(whole, float) else type(whole)) or part is found.cost_usd is None
        )
    assert b"".join(found.chunks) == b"xyz"
    assert found.stored_at + found.expires_at + found.in_tok + found.status
    assert all(isinstance(text, str) for pair in found.headers for text in pair)


def test_an_entry_as_it_was_written_is_one():
    """Negative control: an intact entry is read."""
    assert Entry.unpack(orjson.dumps(FIELDS) + b"\nxyz") == ENTRY
    assert Entry.unpack(ENTRY._replace(cost_usd=None).pack()).cost_usd is None


PATHS = {
    "/v1/chat/completions": "chat", "/openai/deployments/mine/chat/completions": "chat",
    "/v1/chat/completions/chatcmpl-123": "chat", "/v1/responses/resp_123/cancel": "responses",
    "/v1/models": "models", "/v1/models/mine": "models", "/v1/files/file-123/content": "files",
    "/v1/threads/thread_1/runs/run_2": "threads", "/v1/who/knows/42": "request", "/": "request",
}  # fmt: skip


@pytest.mark.parametrize(("path", "name"), PATHS.items())
def test_an_operations_name_is_a_known_word(path, name):
    """The operation labels metrics and logs, so it holds no part of a path that a caller or a provider chose."""
    found = envelope.read(Request("POST", f"http://h{path}", (), b"{}"))
    assert found.operation == name
    assert found.known is path.endswith("/chat/completions")
