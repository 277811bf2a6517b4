"""The bodies of the four endpoints."""

from __future__ import annotations

import orjson
import pytest
from pydantic import ValidationError

from tailrace.load import Workload
from tailrace.load.bodies import Conversation
from tailrace.load.lengths import fixed

PARTS = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
TALK = Conversation(({"role": "system", "content": "S"}, {"role": "user", "content": PARTS}))


def body(**workload: object) -> dict:
    return orjson.loads(Workload(**workload).request(0).body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("endpoint", "path", "limit", "usage"),
    [
        ("chat", "/chat/completions", "max_tokens", True),
        ("completions", "/completions", "max_tokens", True),
        ("responses", "/responses", "max_output_tokens", False),
    ],
)
def test_each_endpoint_has_its_fields(endpoint: str, path: str, limit: str, usage: bool):
    """Path, name of the limit, and the option for a stream's usage, only where it exists."""
    order = {"endpoint": endpoint, "max_tokens": fixed(9), "stream_share": 1.0, "prompts": ("hello",)}
    sent = body(**order)
    assert Workload(**order).path == path
    assert sent[limit] == 9
    assert sent["stream"] is True
    assert ("stream_options" in sent) is usage
    assert "temperature" not in sent


def test_where_the_prompt_stands():
    """Messages for chat, `prompt` for completions, `input` for responses and embeddings."""
    assert body(prompts=("a",))["messages"] == [{"role": "user", "content": "a"}]
    assert body(prompts=("a",), endpoint="completions")["prompt"] == "a"
    assert body(prompts=("a",), endpoint="responses")["input"] == "a"
    assert body(prompts=("a",), endpoint="embeddings")["input"] == "a"


def test_embeddings_have_no_answer():
    """No stream, no limit and no temperature: an embedding has no tokens out."""
    workload = Workload(endpoint="embeddings", stream_share=1, max_tokens=fixed(5), temperature=0)
    request = workload.request(0)
    assert set(orjson.loads(request.body)) == {"model", "input"}
    assert (request.stream, request.planned_out_tok) == (False, -1)


def test_parts_have_other_names_for_responses():
    """The parts of a content are renamed for the responses API, which refuses those of chat."""
    user = body(prompts=(TALK,), endpoint="responses")["input"][1]
    assert user["content"] == [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": "data:,"}]
    assert body(prompts=(TALK,))["messages"][1]["content"] == PARTS


@pytest.mark.parametrize("endpoint", ["completions", "embeddings"])
def test_a_conversation_needs_messages(endpoint: str):
    """Endpoints that take plain text refuse a conversation before anything is sent."""
    with pytest.raises(ValidationError, match="takes plain text; found a conversation of 2 messages"):
        Workload(endpoint=endpoint, prompts=(TALK,))  # type: ignore[arg-type]
