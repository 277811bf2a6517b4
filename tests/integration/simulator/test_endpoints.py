"""Every endpoint as the real SDK sees it, synchronous and asynchronous."""

import math

import openai
import pytest
from pydantic import BaseModel

MESSAGES = [{"role": "user", "content": "Name a bird."}]
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES}


class Bird(BaseModel):
    """A structured answer."""

    name: str
    legs: int
    songs: list[str]
    mate: "Bird | None"


def test_chat_answers_and_counts(ask):
    """A chat completion has a text, a reason for its end, and tokens that add up."""
    answer = ask(lambda client: client.chat.completions.create(**CHAT))
    usage = answer.usage
    assert answer.choices[0].finish_reason == "stop"
    assert usage.completion_tokens == len(answer.choices[0].message.content.split())
    assert usage.prompt_tokens == 4 + 3
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_a_streamed_chat_has_one_chunk_per_token_and_ends_with_its_usage(ask):
    """The chunks are a role, one text per completion token, a finish reason, and the usage."""
    chunks = ask(lambda c: c.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    texts = [text for chunk in chunks[:-2] if (text := chunk.choices[0].delta.content)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(texts) == len("".join(texts).split())
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_has_no_usage_by_default(ask):
    """Without include_usage no chunk has a usage."""
    chunks = ask(lambda client: client.chat.completions.create(**CHAT, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_several_choices_differ(ask):
    """With n = 3 there are three different texts, whole and streamed."""
    answer = ask(lambda client: client.chat.completions.create(**CHAT, n=3))
    assert len({choice.message.content for choice in answer.choices}) == 3
    chunks = ask(lambda client: client.chat.completions.create(**CHAT, n=3, stream=True))
    texts = ["".join(c.choices[0].delta.content or "" for c in chunks if c.choices[0].index == i) for i in range(3)]
    assert len(set(texts)) == 3
    assert all(texts)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_tokens_is_kept(ask, name):
    """A truncated answer has as many tokens as the limit, and the finish reason says so."""
    answer = ask(lambda client: client.chat.completions.create(**CHAT, **{name: 3}))
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"


def test_structured_output_can_be_parsed(ask):
    """chat.completions.parse and responses.parse give an object of the requested type, nested ones included."""
    chat = ask(lambda client: client.chat.completions.parse(**CHAT, response_format=Bird))
    assert isinstance(chat.choices[0].message.parsed, Bird)
    response = ask(lambda client: client.responses.parse(model="gpt-4o-mini", input="A bird.", text_format=Bird))
    assert isinstance(response.output_parsed, Bird)


def test_a_required_tool_is_called_and_an_optional_one_is_not(ask):
    """tool_choice "required" gives a call with arguments that fit; "auto" gives a text."""
    tools = [openai.pydantic_function_tool(Bird, name="see")]
    called = ask(lambda client: client.chat.completions.create(**CHAT, tools=tools, tool_choice="required"))
    (call,) = called.choices[0].message.tool_calls
    assert called.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "see"
    assert Bird.model_validate_json(call.function.arguments)
    offered = ask(lambda client: client.chat.completions.create(**CHAT, tools=tools))
    assert offered.choices[0].message.tool_calls is None
    assert offered.choices[0].message.content


def test_a_streamed_tool_call_joins_to_its_arguments(ask):
    """The pieces of the arguments join to JSON that fits."""
    options = {"tools": [openai.pydantic_function_tool(Bird)], "tool_choice": "required", "stream": True}
    chunks = ask(lambda client: client.chat.completions.create(**CHAT, **options))
    calls = [chunk.choices[0].delta.tool_calls[0] for chunk in chunks if chunk.choices[0].delta.tool_calls]
    assert calls[0].function.name == "Bird"
    assert Bird.model_validate_json("".join(call.function.arguments for call in calls))


def test_a_response_answers_and_counts(ask):
    """A response has a text and tokens that add up."""
    response = ask(lambda client: client.responses.create(model="gpt-4o-mini", input="Name a bird.", instructions="Do"))
    assert response.status == "completed"
    assert response.usage.output_tokens == len(response.output_text.split())
    assert response.usage.input_tokens == 3 + 1
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_truncated_response_is_incomplete(ask):
    """max_output_tokens gives the status and the reason that the SDK knows."""
    response = ask(lambda client: client.responses.create(model="gpt-4o-mini", input="Name.", max_output_tokens=2))
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.usage.output_tokens == 2


@pytest.mark.parametrize(("limit", "end"), [(None, "response.completed"), (2, "response.incomplete")])
def test_response_events_come_in_order_and_join_to_the_text(ask, limit, end):
    """Events are numbered without a gap, open and close each item, and the last holds the whole response."""
    options = {"model": "gpt-4o-mini", "input": "Name a bird.", "stream": True}
    events = ask(lambda c: c.responses.create(**options, **({} if limit is None else {"max_output_tokens": limit})))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events if event.type != "response.output_text.delta"] == [
        "response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
        "response.output_text.done", "response.content_part.done", "response.output_item.done", end,
    ]  # fmt: skip
    assert "".join(deltas) == events[-1].response.output_text
    assert events[-1].response.usage.output_tokens == len(deltas)


def test_the_sdks_own_accumulator_accepts_the_events(simulator):
    """client.responses.stream and chat.completions.stream rebuild the text from the events."""
    with openai.OpenAI(base_url=simulator.url, api_key="test", max_retries=0) as client:
        with client.responses.stream(model="gpt-4o-mini", input="Name a bird.") as stream:
            deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
            assert stream.get_final_response().output_text == "".join(deltas)
        with client.chat.completions.stream(**CHAT) as chunks:
            pieces = [event.delta for event in chunks if event.type == "content.delta"]
            assert chunks.get_final_completion().choices[0].message.content == "".join(pieces)


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_embeddings_are_unit_vectors_of_the_requested_size(ask, form):
    """One vector per input, of length 1, all different; the tokens of the inputs are counted."""
    inputs = ["one", "another", "one"]
    options = {"model": "text-embedding-3-small", "input": inputs, "dimensions": 64, **form}
    answer = ask(lambda client: client.embeddings.create(**options))
    vectors = [item.embedding for item in answer.data]
    if form.get("encoding_format") != "base64":
        assert [len(vector) for vector in vectors] == [64] * 3
        assert all(math.hypot(*vector) == pytest.approx(1, abs=1e-5) for vector in vectors)
    assert len({str(vector) for vector in vectors}) == 3
    assert answer.usage.prompt_tokens == 1 + 2 + 1


@pytest.mark.parametrize(("value", "count"), [("one", 1), ([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_embeddings_take_texts_and_tokens(ask, value, count):
    """A text, an array of tokens, and arrays of tokens are inputs."""
    answer = ask(lambda client: client.embeddings.create(model="text-embedding-3-large", input=value))
    assert [len(item.embedding) for item in answer.data] == [3_072] * count


def test_models_are_listed_and_found(ask):
    """Each listed model can be retrieved; another name is not found."""
    names = [model.id for model in ask(lambda client: client.models.list()).data]
    assert "gpt-4o-mini" in names
    assert ask(lambda client: client.models.retrieve(names[0])).id == names[0]
    with pytest.raises(openai.NotFoundError) as caught:
        ask(lambda client: client.models.retrieve("none"))
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda c: c.post("/chat/completions", cast_to=object, body={"model": "m"}), openai.BadRequestError,
         "missing_required_parameter"),
        (lambda c: c.chat.completions.create(**{**CHAT, "temperature": 3}), openai.BadRequestError, "invalid_value"),
        (lambda c: c.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "a" * 40_000}]),
         openai.BadRequestError, "context_length_exceeded"),
        (lambda c: c.responses.create(model="gpt-4", input="a" * 40_000), openai.BadRequestError,
         "context_length_exceeded"),
        (lambda c: c.embeddings.create(model="gpt-4", input="a" * 40_000), openai.BadRequestError,
         "context_length_exceeded"),
        (lambda c: c.post("/nothing", cast_to=object, body={}), openai.NotFoundError, None),
        (lambda c: c.chat.completions.create(**CHAT, extra_headers={"authorization": "Basic x"}),
         openai.AuthenticationError, "invalid_api_key"),
    ],
)  # fmt: skip
def test_bad_requests_are_the_sdks_errors(ask, call, kind, code):
    """For invalid input the SDK raises the same error as with OpenAI, with its code."""
    with pytest.raises(kind) as caught:
        ask(call)
    assert caught.value.code == code
    assert caught.value.request_id


def test_every_response_has_a_request_id(simulator, ask):
    """It is the caller's if that is a valid one, else a new one."""
    raw = ask(lambda c: c.chat.completions.with_raw_response.create(**CHAT))
    assert raw.headers["x-request-id"].startswith("req_")
    for request_id, kept in (("abc-1", True), ("a" * 200, False)):
        answer = simulator.http.get(f"{simulator.url}/models", headers={"x-request-id": request_id})
        assert (answer.headers["x-request-id"] == request_id) is kept


def test_a_required_key_is_required(start, tmp_path, simulator):
    """With --require-key a request without a key is a 401, with one a 200; without the option both are a 200."""
    body = {"json": CHAT}
    with start(tmp_path, "--ttft-s", "0", "--require-key") as strict:
        assert strict.http.post(f"{strict.url}/chat/completions", **body).status_code == 401
        with_key = {"authorization": "Bearer test"}
        assert strict.http.post(f"{strict.url}/chat/completions", **body, headers=with_key).status_code == 200
    assert simulator.http.post(f"{simulator.url}/chat/completions", **body).status_code == 200


def azure(**place):
    return openai.AzureOpenAI(api_key="k", api_version="2024-10-21", max_retries=0, **place)


def test_azures_paths_lead_to_the_same_endpoints(simulator):
    """Paths of a deployment and of the resource work, with Azure's header; two deployments answer differently."""
    chat = {"temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
    with azure(azure_endpoint=simulator.base) as client:
        texts = [client.chat.completions.create(model=name, **chat).choices[0].message.content for name in "aab"]
        assert client.embeddings.create(model="vectors", input="hi").data
        assert client.responses.create(model="a", input="hi").status == "completed"
        assert len(list(client.chat.completions.create(model="a", stream=True, **chat))) > 2
    assert texts[0] == texts[1] != texts[2]
    with openai.OpenAI(api_key="k", base_url=f"{simulator.base}/openai/v1", max_retries=0) as client:
        assert client.chat.completions.create(model="a", **chat).choices
    with azure(base_url=f"{simulator.base}/openai/deployments/a") as client:
        assert client.chat.completions.create(model="a", **chat).choices[0].message.content == texts[0]


def test_a_deployment_needs_a_version_and_a_key(start, tmp_path, simulator):
    """Without `api-version` the resource is not found; if a key is required, Azure's header counts."""
    url = f"{simulator.base}/openai/deployments/a/chat/completions"
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
    assert simulator.http.post(url, json=body, headers={"api-key": "k"}).status_code == 404
    with start(tmp_path, "--require-key") as strict:
        url = f"{strict.base}/openai/deployments/a/chat/completions?api-version=1"
        assert strict.http.post(url, json=body).status_code == 401
        assert strict.http.post(url, json=body, headers={"api-key": ""}).status_code == 401
        assert strict.http.post(url, json=body, headers={"api-key": "k"}).status_code == 200
