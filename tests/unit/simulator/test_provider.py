"""The simulated provider as a function: every body gets a response in OpenAI's shape."""

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from depth import scaled
from tailrace.simulator import Fault, Latency, Settings
from tailrace.simulator.api_request import ApiRequest
from tailrace.simulator.delivery import Ending
from tailrace.simulator.provider import ENDPOINTS, SimulatedProvider

NOW = Settings(latency=Latency(ttft_s=0, token_s=0))
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
NAMES = """
model messages input temperature top_p n max_tokens max_completion_tokens max_output_tokens stream stream_options
response_format text tools tool_choice instructions dimensions encoding_format
"""
KEYS = "role content type text function name parameters json_schema schema format include_usage properties"
json = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5_000) | st.floats(allow_nan=False) | st.sampled_from(
        ["user", "required", "json_schema", "json_object", "object", "array", "gpt-4", "base64", ""]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS.split()), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def deliver(body, path="/v1/chat/completions", method="POST", headers=None, **options):
    provider = SimulatedProvider(Settings(latency=NOW.latency, **options), lambda: 0.0)
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return provider.deliver(ApiRequest(method, path, "", headers or {}, data, 0))


def error(delivery):
    return orjson.loads(delivery.response.body)["error"]


@settings(max_examples=scaled(400, 100), deadline=None)
@given(
    st.sampled_from(sorted(ENDPOINTS)),
    st.dictionaries(st.sampled_from(NAMES.split()), json, max_size=5),
    st.sampled_from([{}, CHAT, {"model": "m", "input": "hi"}]),
)
def test_any_json_is_answered_or_refused(path, odd, base):
    """For any JSON, the response is a 200 or a 400 that can be parsed."""
    delivery = deliver({**base, **odd}, path)
    assert delivery.response.status in (200, 400)
    if delivery.response.status == 400:
        assert error(delivery).keys() == {"message", "type", "param", "code"}
    elif not delivery.response.stream:
        assert orjson.loads(delivery.response.body)["model"] == {**base, **odd}["model"]
    else:
        assert len(delivery.response.parts) == len(delivery.due_s) == delivery.response.steps


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 4}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"temperature": "0"}, "temperature", "invalid_type"),
        ({"temperature": True}, "temperature", "invalid_type"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"tools": 1}, "tools", "invalid_type"),
    ],
)
def test_a_bad_parameter_is_named(fields, param, code):
    """A 400 names the parameter and the error code."""
    delivery = deliver({**CHAT, **fields})
    assert delivery.response.status == 400
    assert (error(delivery)["param"], error(delivery)["code"]) == (param, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a":' * 500 + b"1" + b"}" * 500])
def test_a_body_that_is_not_a_json_object_is_refused(body):
    """An empty body, half a body, a list, and a body nested too deep are a 400."""
    assert deliver(body).response.status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/chat", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/models/gpt-4", 200),
        ("GET", "/v1/models", 200),
    ],
)
def test_paths_and_methods(method, path, status):
    """An unknown path is a 404, a wrong method a 405."""
    assert deliver(CHAT, path, method).response.status == status


def test_a_prompt_longer_than_the_context_is_refused():
    """8,192 tokens fit gpt-4, one more does not, and the error code says why."""

    def prompt_of(tokens):
        return deliver({"model": "gpt-4", "messages": [{"role": "user", "content": "a" * 4 * (tokens - 4)}]})

    assert prompt_of(8_192).response.status == 200
    assert prompt_of(8_193).response.status == 400
    assert error(prompt_of(8_193))["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("header", "require", "status"),
    [
        (None, False, 200), (None, True, 401), ("Bearer x", False, 200), ("Bearer x", True, 200),
        ("Bearer ", False, 401), ("Basic x", False, 401),
    ],
)  # fmt: skip
def test_credentials(header, require, status):
    """A request without a credential is accepted unless one is required; a malformed one is always refused."""
    headers = {} if header is None else {"authorization": header}
    assert deliver(CHAT, headers=headers, require_key=require).response.status == status


def test_a_recursive_schema_ends_and_a_large_one_stays_small():
    """Recursion and nested lists are limited."""
    tree = {"type": "array", "minItems": 100}
    tree["items"] = {"$ref": "#"}
    form = {"type": "json_schema", "json_schema": {"name": "tree", "schema": tree}}
    delivery = deliver({**CHAT, "response_format": form})
    assert delivery.response.status == 200
    assert len(delivery.response.body) < 200_000


def test_faults_change_how_a_stream_ends():
    """A cut stream closes half-way without its tail; the same stream without a fault is complete."""
    whole = deliver({**CHAT, "stream": True})
    cut = deliver({**CHAT, "stream": True}, faults=(Fault(kind="cut_stream"),))
    assert (whole.ending, whole.sends) == (Ending.COMPLETE, len(whole.response.parts))
    assert (cut.ending, cut.sends) == (Ending.CLOSE, len(cut.response.parts) // 2)


def test_choices_are_generated_in_parallel():
    """Four choices take as long as the longest of them, not as all together."""
    provider = SimulatedProvider(
        Settings(latency=Latency(ttft_s=1, ttft_sigma=0, token_s=1, token_sigma=0)), lambda: 0.0
    )
    body = orjson.dumps({**CHAT, "n": 4})
    delivery = provider.deliver(ApiRequest("POST", "/v1/chat/completions", "", {}, body, 0))
    assert delivery.due_s == (delivery.response.steps,)
    assert delivery.response.steps < delivery.response.out_tok
