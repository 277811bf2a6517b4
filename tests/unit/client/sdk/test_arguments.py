"""The lean path sends plain JSON as the SDK would; everything else is left to the SDK."""

import asyncio
import datetime
import enum
import functools
import uuid
from collections.abc import Iterable
from typing import Annotated, TypedDict

import httpx2
import openai
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai._utils import PropertyInfo
from openai.types import embedding_create_params, responses
from openai.types.chat import ChatCompletionMessage, completion_create_params

from depth import scaled
from tailrace import AsyncOpenAI, OpenAI, Policy
from tailrace.client.sdk import arguments

ALONE = Policy(cache=None, retry=None, limits=None, guard=None, hooks=(lambda call: None,))
"""Not empty, and adds nothing to a request."""
USER = {"role": "user", "content": "hi"}


class Colour(enum.StrEnum):
    RED = "red"


PLAIN = [{"a": 1}, {"a": None}, {"a": [None, {"b": None}]}, {"text": '{"x":null}'}, {"a": (1, 2)}, {"a": 2**63},
         {"a": 0.1}, {"messages": [USER], "temperature": 0, "stop": None}]  # fmt: skip
OTHER = [{"a": float("nan")}, {"a": float("inf")}, {"a": [None, float("nan")]}, {"a": datetime.date(2026, 1, 1)},
         {"a": b"x"}, {"a": iter([1])}, {"a": openai.NOT_GIVEN}, {"a": openai.omit}, {"a": {1: 2}}, {"a": 2**65},
         {"a": "\ud800"}, {"a": ChatCompletionMessage(role="assistant")}, {"a": type("Text", (str,), {})("x")},
         {"a": {"deep"}}, {"a": httpx2.Timeout(3)}, {"a": uuid.UUID(int=1)}, {"a": [Colour.RED]},
         {"a": {"b": enum.IntEnum("N", "ONE").ONE}}]  # fmt: skip


@pytest.mark.parametrize("given", PLAIN, ids=str)
def test_plain_json_is_written_out_without_loss(given):
    """The text reads back as the arguments; tuples become lists, as on the wire."""
    text = arguments.plain(given)
    assert text is not None
    assert orjson.loads(text) == {name: list(value) if type(value) is tuple else value for name, value in given.items()}


def test_timeouts_as_a_tuple_are_left_to_the_sdk():
    """httpx2 takes (connect, read, write, pool) as four timeouts, but not a list."""
    assert arguments.plain({"timeout": (1, 2, 3, 4)}) is None


@pytest.mark.parametrize("given", OTHER, ids=lambda given: type(given["a"]).__name__)
def test_what_only_the_sdk_can_send_is_left_to_it(given):
    """Numbers that JSON lacks, dates, models, generators and omitted arguments are not plain."""
    assert arguments.plain(given) is None


def sent(kind, asks, **more):
    """Return what a client of `kind` sends for each of `asks`: method, URL, headers and body."""
    seen = []

    def answer(request):
        seen.append((request.method, str(request.url), sorted(request.headers.items()), request.content))
        return httpx2.Response(400, json={"error": {"message": "seen"}}, request=request)

    asynchronous = issubclass(kind, openai.AsyncOpenAI)
    http = (httpx2.AsyncClient if asynchronous else httpx2.Client)(transport=httpx2.MockTransport(answer))
    client = kind(api_key="k", base_url="http://test/v1", http_client=http, **more)

    async def wait(call):
        return await call

    for path, asked in asks:
        create = functools.reduce(getattr, path.split("."), client)
        with pytest.raises(Exception) as raised:  # noqa: PT011 (each one is compared)
            asyncio.run(wait(create(**asked))) if asynchronous else create(**asked)
        seen.append((type(raised.value), str(raised.value)))
    return seen


texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
atoms = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts
trees = st.recursive(
    atoms, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
parts = st.fixed_dictionaries({"type": st.just("text"), "text": texts})
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "tool"]), "content": texts | st.lists(parts, max_size=2)},
        optional={"name": texts, "tool_calls": trees, "odd": trees},
    ),
    max_size=3,
)  # fmt: skip
common = {"extra_body": st.dictionaries(texts, trees, max_size=2), "user": texts, "metadata": trees,
          "extra_headers": st.dictionaries(st.sampled_from(["x-a", "authorization"]), st.just("v"), max_size=2),
          "extra_query": st.dictionaries(st.sampled_from("ab"), st.just("v"), max_size=2),
          "timeout": st.floats(1, 9)}  # fmt: skip
chats = st.fixed_dictionaries(
    {"model": texts, "messages": messages},
    optional={**common, "tools": trees, "response_format": st.dictionaries(texts, trees, max_size=2), "stop": trees,
              "temperature": atoms, "logit_bias": trees, "stream": st.booleans(), "n": trees},
)  # fmt: skip
answers = st.fixed_dictionaries(
    {"model": texts, "input": texts | messages}, optional={**common, "tools": trees, "text": trees, "reasoning": trees}
)
vectors = st.fixed_dictionaries(
    {"model": texts, "input": texts | st.lists(texts, max_size=3) | st.lists(st.integers(0, 9), max_size=3)},
    optional={**common, "encoding_format": st.sampled_from(["float", "base64"]), "dimensions": trees},
)
calls = st.one_of(
    st.tuples(st.just("chat.completions.create"), chats), st.tuples(st.just("responses.create"), answers),
    st.tuples(st.just("embeddings.create"), vectors),
    st.tuples(st.just("chat.completions.with_raw_response.create"), chats),
)  # fmt: skip


@pytest.mark.parametrize(("ours", "plain"), [(OpenAI, openai.OpenAI), (AsyncOpenAI, openai.AsyncOpenAI)])
@settings(max_examples=scaled(150, 25))
@given(asks=st.lists(calls, min_size=1, max_size=3))
def test_it_sends_what_the_sdk_sends(ours, plain, asks):
    """For any plain JSON, method, URL, headers and body are the stock SDK's, and so is the error."""
    assert sent(ours, asks, policy=ALONE) == sent(plain, asks, max_retries=0)


def test_a_step_that_loses_something_would_be_seen(monkeypatch):
    """Negative control: without one field of the body, the comparison above fails."""
    ask = [("chat.completions.create", {"model": "m", "messages": [USER], "user": "u"})]
    monkeypatch.setattr(arguments, "_without_omitted", lambda data: {"model": data["model"]})
    assert sent(OpenAI, ask, policy=ALONE) != sent(openai.OpenAI, ask, max_retries=0)


def test_what_is_missing_is_told_by_the_sdk():
    """Without messages, or with an unknown argument, the error is the SDK's own."""
    asks = [("chat.completions.create", {"model": "m"}), ("chat.completions.create", {}),
            ("chat.completions.create", {"model": "m", "messages": [USER], "odd": 1}),
            ("embeddings.create", {"model": "m"})]  # fmt: skip
    assert sent(OpenAI, asks, policy=ALONE) == sent(openai.OpenAI, asks, max_retries=0)


class Renamed(TypedDict, total=False):
    kind: Annotated[str, PropertyInfo(alias="type")]


class Deep(TypedDict, total=False):
    inner: Iterable[str | dict[str, Renamed]]


class Formatted(TypedDict, total=False):
    at: Annotated[str | datetime.date, PropertyInfo(format="iso8601")]


def test_a_field_with_another_name_is_found_wherever_it_is():
    """An alias is found in a union, a list or a dict; a format alone does not change plain JSON."""
    assert arguments.renames(Renamed)
    assert arguments.renames(Deep)
    assert not arguments.renames(Formatted)


def test_a_type_that_renames_is_left_to_the_sdk():
    """The transform is left out only where it would change nothing."""
    assert arguments._transform({"kind": "a", "other": openai.omit}, Renamed) == {"type": "a"}
    assert asyncio.run(arguments._atransform({"kind": "a"}, Renamed)) == {"type": "a"}
    assert arguments._transform({"at": "2026-01-01", "other": openai.omit}, Formatted) == {"at": "2026-01-01"}


def test_the_sdk_renames_nothing_in_what_we_shorten():
    """Otherwise the lean path would still be right, but as slow as the SDK."""
    for kind in (completion_create_params.CompletionCreateParamsNonStreaming,
                 completion_create_params.CompletionCreateParamsStreaming,
                 responses.response_create_params.ResponseCreateParamsNonStreaming,
                 responses.response_create_params.ResponseCreateParamsStreaming,
                 embedding_create_params.EmbeddingCreateParams):  # fmt: skip
        assert not arguments.renames(kind)


def test_the_sdk_itself_is_not_changed():
    """Only a copy of the code leaves out the transform; other clients still use the SDK's own."""
    from openai.resources.chat.completions import completions

    before = completions.maybe_transform, completions.Completions.create
    client = OpenAI(api_key="k", policy=ALONE)
    assert client.chat.completions.create is not before[1]
    assert (completions.maybe_transform, completions.Completions.create) == before
    assert arguments.lean(openai.OpenAI(api_key="k").chat.completions.create).__wrapped__.__func__ is before[1]


@pytest.mark.parametrize("given", [(("m",), {}), ((), {}), ((), {"model": "m", "surprise": 1})])
def test_a_call_that_is_wrong_is_told_in_the_sdks_words(given):
    """Positional, missing or unknown arguments raise the same error with the same text."""
    unnamed, named = given
    told = []
    for kind, policy in ((openai.OpenAI, {}), (OpenAI, {"policy": ALONE})):
        with pytest.raises(TypeError) as error:
            kind(api_key="k", **policy).chat.completions.create(*unnamed, **named)
        told.append(str(error.value))
    for kind, policy in ((openai.AsyncOpenAI, {}), (AsyncOpenAI, {"policy": ALONE})):

        async def ask(client):
            await client.chat.completions.create(*unnamed, **named)

        with pytest.raises(TypeError) as error:
            asyncio.run(ask(kind(api_key="k", **policy)))
        told.append(str(error.value))
    assert told[0] == told[1]
    assert told[2] == told[3]


def test_a_create_that_somebody_has_wrapped_stays_wrapped(monkeypatch):
    """When instrumentation has wrapped `create`, its function is called."""
    from openai.resources.chat.completions import completions

    original, seen = completions.Completions.create, []

    def traced(self, **given):
        seen.append(given)
        return original(self, **given)

    monkeypatch.setattr(completions.Completions, "create", traced)
    ask = [("chat.completions.create", {"model": "m", "messages": [USER]})]
    sent(OpenAI, ask, policy=ALONE)
    assert len(seen) == 1


class Proxy:
    """A wrapper as instrumentation libraries use it: it looks like the function in everything but its call."""

    def __init__(self, wrapped, seen):
        self.__wrapped__, self.seen = wrapped, seen

    def __getattr__(self, name):
        return getattr(self.__wrapped__, name)

    def __get__(self, instance, kind):
        return Proxy(self.__wrapped__.__get__(instance, kind), self.seen)

    def __call__(self, **given):
        self.seen.append(given)
        return self.__wrapped__(**given)


def test_a_proxy_is_not_taken_for_what_it_wraps(monkeypatch):
    """The wrappers of wrapt, which OpenTelemetry and Langfuse use, have the attributes of the SDK's function."""
    from openai.resources.chat.completions import completions

    seen = []
    monkeypatch.setattr(completions.Completions, "create", Proxy(completions.Completions.create, seen))
    sent(OpenAI, [("chat.completions.create", {"model": "m", "messages": [USER]})], policy=ALONE)
    assert len(seen) == 1
