"""The ways in which the simulator's streams can differ, and the number of tokens that each of them carries."""

from itertools import pairwise

import hypothesis.strategies as st
import orjson
import pytest
from hypothesis import given

from tailrace.simulator import Dialect, Fault, Latency, Settings, tokens
from tailrace.simulator.api_request import ApiRequest
from tailrace.simulator.delivery import KEEP_ALIVE, Ending
from tailrace.simulator.provider import SimulatedProvider

STEADY = Latency(ttft_s=1, ttft_sigma=0, token_s=0.1, token_sigma=0)
CHAT, TEXT, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES = [{"role": "user", "content": "hi"}]
BODIES = {
    CHAT: {"model": "m", "messages": MESSAGES},
    TEXT: {"model": "m", "prompt": "hi"},
    RESPONSES: {"model": "m", "input": "hi"},
}
LIMITS = {CHAT: "max_completion_tokens", TEXT: "max_tokens", RESPONSES: "max_output_tokens"}


def deliver(path=CHAT, faults=(), dialect=None, **body):
    provider = SimulatedProvider(Settings(latency=STEADY, faults=faults, dialect=dialect or Dialect()), lambda: 0.0)
    return provider.deliver(ApiRequest("POST", path, "", {}, orjson.dumps({**BODIES[path], **body}), 0))


def events(delivery):
    """Return the JSON of all events, the tail included."""
    text = b"".join(delivery.response.parts) + delivery.response.tail
    lines = [line.removeprefix(b"data: ") for line in text.split(b"\n") if line.startswith(b"data: ")]
    return [orjson.loads(line) for line in lines if line != b"[DONE]"]


def deltas(delivery):
    return [choice["delta"] for event in events(delivery) for choice in event["choices"]]


def usage(path, delivery):
    content = orjson.loads(delivery.response.body)["usage"]
    return content["output_tokens" if path == RESPONSES else "completion_tokens"]


@given(st.sampled_from(sorted(BODIES)), st.integers(1, 300), st.integers(0, 30), st.integers(1, 9), st.booleans())
def test_as_many_tokens_as_asked_for(path, wanted, reasoning, size, stream):
    """With `ignore_eos` an answer has exactly its limit of tokens, reasoning included; the parts sum up to it."""
    dialect = Dialect(reasoning_tokens=reasoning, tokens_per_chunk=size)
    delivery = deliver(path, dialect=dialect, stream=stream, ignore_eos=True, **{LIMITS[path]: wanted})
    assert delivery.response.out_tok == wanted
    if not stream:
        assert usage(path, delivery) == wanted
    else:
        assert sum(delivery.sizes or [1] * len(delivery.response.parts)) == wanted


@given(st.sampled_from([CHAT, RESPONSES]), st.integers(0, 200))
def test_at_least_as_many_tokens_as_asked_for(path, least):
    """`min_tokens` makes an answer longer than its natural length, never shorter."""
    natural = deliver(path).response.out_tok
    assert deliver(path, min_tokens=least).response.out_tok >= least
    assert least > natural + 24 or deliver(path, min_tokens=0).response.out_tok <= 24


def test_a_limit_without_ignore_eos_is_only_a_limit():
    """The control: 300 tokens are not reached by themselves, and the finish reason says so."""
    assert deliver(max_completion_tokens=300).response.out_tok <= 24
    asked = deliver(max_completion_tokens=300, ignore_eos=True)
    assert orjson.loads(asked.response.body)["choices"][0]["finish_reason"] == "length"
    assert orjson.loads(deliver().response.body)["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_min_tokens_above_the_limit_are_refused(path):
    """A request cannot ask for more tokens than it allows."""
    refused = deliver(path, min_tokens=9, **{LIMITS[path]: 8})
    assert refused.response.status == 400
    assert orjson.loads(refused.response.body)["error"]["param"] == "min_tokens"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_first_and_is_counted_apart(field):
    """The deltas of reasoning come before those of the answer, in the field of the dialect, whole and streamed."""
    dialect = Dialect(reasoning_tokens=5, reasoning_field=field)
    streamed = deliver(dialect=dialect, stream=True, stream_options={"include_usage": True})
    kinds = [
        field if field in delta else "content" for delta in deltas(streamed) if delta.get("content") or field in delta
    ]
    assert kinds == [field] * 5 + ["content"] * (streamed.response.out_tok - 5)
    last = events(streamed)[-1]["usage"]
    assert last["completion_tokens_details"]["reasoning_tokens"] == 5
    assert last["completion_tokens"] == streamed.response.out_tok
    whole = deliver(dialect=dialect).response
    message = orjson.loads(whole.body)["choices"][0]["message"]
    assert (tokens.count(message[field]), tokens.count(message["content"])) == (5, whole.out_tok - 5)


def test_reasoning_uses_up_the_limit():
    """A limit within the reasoning leaves no answer: the text is empty, and the finish reason "length"."""
    answer = orjson.loads(deliver(dialect=Dialect(reasoning_tokens=50), max_completion_tokens=8).response.body)
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 8


def test_a_role_can_come_before_the_first_token():
    """The opening is sent at once and alone; without the option it comes with the first token."""
    first = deliver(dialect=Dialect(role_first=True), stream=True)
    assert (first.due_s[:2], first.sizes[:2]) == ((0.0, 1.0), (0, 1))
    assert b'"role"' in first.response.parts[0]
    assert b'"role"' not in first.response.parts[1]
    together = deliver(stream=True)
    assert together.due_s[0] == 1.0
    assert together.response.parts[0].count(b"data: ") == 2


def test_a_chunk_can_carry_several_tokens():
    """A chunk of four is sent when its first token is due, and the joined text is the same."""
    asked = {"stream": True, "ignore_eos": True, "max_completion_tokens": 10}
    fours, ones = deliver(dialect=Dialect(tokens_per_chunk=4), **asked), deliver(**asked)
    assert fours.sizes == (4, 4, 2)
    assert fours.due_s == pytest.approx((1.0, 1.4, 1.8))
    texts = ["".join(delta.get("content") or "" for delta in deltas(delivery)) for delivery in (fours, ones)]
    assert texts[0] == texts[1]


def test_comments_keep_a_stream_alive():
    """A comment comes after each 0.3 s of silence, is no token, and delays none."""
    kept, plain = deliver(dialect=Dialect(keep_alive_s=0.3), stream=True), deliver(stream=True)
    comments = [at for at, part in zip(kept.due_s, kept.response.parts, strict=True) if part == KEEP_ALIVE]
    assert comments == pytest.approx([0.3, 0.6, 0.9])
    assert [at for at, size in zip(kept.due_s, kept.sizes, strict=True) if size] == pytest.approx(plain.due_s)
    assert KEEP_ALIVE not in plain.response.parts


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize(
    ("dialect", "options"),
    [
        (Dialect(usage_in_each_chunk=True), {}),
        (Dialect(), {"include_usage": True, "continuous_usage_stats": True}),
    ],
)
def test_the_usage_can_be_in_each_chunk(path, dialect, options):
    """It counts up to the chunk, by the dialect or as the request asks for."""
    delivery = deliver(path, dialect=dialect, stream=True, stream_options=options)
    counts = [event["usage"]["completion_tokens"] for event in events(delivery)]
    assert all(earlier <= later for earlier, later in pairwise(counts))
    assert counts[-1] == delivery.response.out_tok
    assert len(set(counts) - {0}) == delivery.response.out_tok
    assert not any("usage" in event for event in events(deliver(path, stream=True)))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"max_tokens": 9}, "unsupported_parameter"), ({"temperature": 0}, "unsupported_value"),
        ({"top_p": 0.5}, "unsupported_value"), ({"temperature": 1}, None), ({"max_completion_tokens": 9}, None),
    ],
)  # fmt: skip
def test_a_reasoning_model_refuses_what_openais_do(body, code):
    """max_tokens and another temperature than 1 are a 400 with OpenAI's code; a plain model takes them all."""
    strict = deliver(dialect=Dialect(reasoning_model=True), **body).response
    assert orjson.loads(strict.body).get("error", {}).get("code") == code
    assert deliver(**body).response.status == 200


@pytest.mark.parametrize(
    ("path", "form", "expected"),
    [
        (CHAT, "object", b'data: {"error":'), (CHAT, "event", b"event: error\n"),
        (CHAT, "finish", b'"finish_reason":"error"'), (TEXT, "finish", b'"text":"","logprobs":null'),
        (RESPONSES, "object", b'data: {"error":'), (RESPONSES, "event", b'"type":"error"'),
        (RESPONSES, "finish", b'"type":"response.failed"'),
    ],
)  # fmt: skip
def test_a_stream_can_end_in_an_error(path, form, expected):
    """After two parts comes the error, in a complete HTTP message; the stream's own end does not."""
    failed = deliver(path, (Fault(kind="error_event", form=form, chunks=2),), stream=True)
    assert (failed.ending, failed.sends, failed.fault) == (Ending.CLEAN, 3, "error_event")
    assert expected in failed.response.parts[2]
    assert expected not in b"".join(deliver(path, stream=True).response.parts)


@pytest.mark.parametrize("path", sorted(BODIES))
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_can_have_status_200(path, stream):
    """The body is an error object, and plain JSON in a stream's place."""
    failed = deliver(path, (Fault(kind="error_body"),), stream=stream).response
    assert (failed.status, failed.stream) == (200, False)
    assert orjson.loads(failed.body)["error"]["type"] == "server_error"


@pytest.mark.parametrize("path", sorted(BODIES))
def test_an_answer_can_be_empty(path):
    """It is complete, and has no token, whole and streamed."""
    for stream in (False, True):
        empty = deliver(path, (Fault(kind="empty_answer"),), stream=stream)
        assert (empty.response.out_tok, empty.ending) == (0, Ending.COMPLETE)
        assert empty.due_s == (1.0,)
    assert usage(path, deliver(path, (Fault(kind="empty_answer"),))) == 0


@pytest.mark.parametrize("size", [1, 3])
def test_faults_and_dialects_go_together(size):
    """A cut stream that thinks, in chunks of three, with comments, ends half-way through its parts."""
    dialect = Dialect(reasoning_tokens=6, role_first=True, keep_alive_s=0.05, tokens_per_chunk=size)
    cut = deliver(faults=(Fault(kind="cut_stream"),), dialect=dialect, stream=True)
    assert cut.sends == len(cut.response.parts) // 2
    assert len(cut.due_s) == len(cut.sizes) == len(cut.response.parts)
    assert list(cut.due_s) == sorted(cut.due_s)


def test_legacy_completions_answer_each_prompt():
    """Two prompts with two choices are four texts; a prompt may be token numbers; 16 tokens are the default limit."""
    answer = orjson.loads(deliver(TEXT, prompt=["one", "another"], n=2).response.body)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert len({choice["text"] for choice in answer["choices"]}) == 4
    assert answer["usage"]["prompt_tokens"] == 1 + 2
    assert deliver(TEXT, prompt=[1, 2, 3]).response.in_tok == 3
    assert all(tokens.count(choice["text"]) <= 16 for choice in answer["choices"])
    assert deliver(TEXT, prompt="").response.status == 400
