"""The provider as a function: every body gets a reply in OpenAI's shape."""

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given, settings

from tailrace.simulator import Fault, Latency, Settings
from tailrace.simulator.provider import ENDPOINTS, Provider
from tailrace.simulator.replies import Ending
from tailrace.simulator.requests import Request

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


def reply(body, path="/v1/chat/completions", method="POST", headers=None, **options):
    provider = Provider(Settings(latency=NOW.latency, **options), lambda: 0.0)
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return provider.reply(Request(method, path, "", headers or {}, data, 0))


def error(answered):
    return orjson.loads(answered.answer.body)["error"]


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(sorted(ENDPOINTS)),
    st.dictionaries(st.sampled_from(NAMES.split()), json, max_size=5),
    st.sampled_from([{}, CHAT, {"model": "m", "input": "hi"}]),
)
def test_any_json_is_answered_or_refused(path, odd, base):
    """Whatever JSON comes in, what goes out is a 200 or a 400 that can be parsed."""
    answered = reply({**base, **odd}, path)
    assert answered.answer.status in (200, 400)
    if answered.answer.status == 400:
        assert error(answered).keys() == {"message", "type", "param", "code"}
    elif not answered.answer.stream:
        assert orjson.loads(answered.answer.body)["model"] == {**base, **odd}["model"]
    else:
        assert len(answered.answer.parts) == len(answered.due_s) == answered.answer.steps


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
    """A 400 says which parameter is wrong, and how."""
    answered = reply({**CHAT, **fields})
    assert answered.answer.status == 400
    assert (error(answered)["param"], error(answered)["code"]) == (param, code)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a":' * 500 + b"1" + b"}" * 500])
def test_what_is_no_json_object_is_refused(body):
    """No body, half a body, a list, and a body nested too deep are 400."""
    assert reply(body).answer.status == 400


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
    """Unknown paths are 404, wrong methods 405."""
    assert reply(CHAT, path, method).answer.status == status


def test_a_long_prompt_is_refused_at_the_size_of_the_context():
    """8,192 tokens fit gpt-4, one more does not, and the code says why."""

    def asked(tokens):
        return reply({"model": "gpt-4", "messages": [{"role": "user", "content": "a" * 4 * (tokens - 4)}]})

    assert asked(8_192).answer.status == 200
    assert asked(8_193).answer.status == 400
    assert error(asked(8_193))["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("header", "require", "status"),
    [
        (None, False, 200), (None, True, 401), ("Bearer x", False, 200), ("Bearer x", True, 200),
        ("Bearer ", False, 401), ("Basic x", False, 401),
    ],
)  # fmt: skip
def test_credentials(header, require, status):
    """Without a credential all is well unless one is required; one that is none is always refused."""
    headers = {} if header is None else {"authorization": header}
    assert reply(CHAT, headers=headers, require_key=require).answer.status == status


def test_a_schema_that_refers_to_itself_ends_and_a_greedy_one_stays_small():
    """Recursion and lists of lists of lists are cut off."""
    tree = {"type": "array", "minItems": 100}
    tree["items"] = {"$ref": "#"}
    form = {"type": "json_schema", "json_schema": {"name": "tree", "schema": tree}}
    answered = reply({**CHAT, "response_format": form})
    assert answered.answer.status == 200
    assert len(answered.answer.body) < 200_000


def test_faults_change_how_a_stream_ends():
    """A cut stream closes half-way without its tail; the same stream without a fault is whole."""
    whole = reply({**CHAT, "stream": True})
    cut = reply({**CHAT, "stream": True}, faults=(Fault(kind="cut_stream"),))
    assert (whole.ending, whole.sends) == (Ending.COMPLETE, len(whole.answer.parts))
    assert (cut.ending, cut.sends) == (Ending.CLOSE, len(cut.answer.parts) // 2)


def test_choices_run_beside_each_other():
    """Four choices take as long as their longest, not as all of them."""
    provider = Provider(Settings(latency=Latency(ttft_s=1, ttft_sigma=0, token_s=1, token_sigma=0)), lambda: 0.0)
    body = orjson.dumps({**CHAT, "n": 4})
    answered = provider.reply(Request("POST", "/v1/chat/completions", "", {}, body, 0))
    assert answered.due_s == (answered.answer.steps,)
    assert answered.answer.steps < answered.answer.out_tok
