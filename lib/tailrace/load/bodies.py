"""The bodies of OpenAI's endpoints: which fields each has, and where its text stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Endpoint = Literal["chat", "completions", "responses", "embeddings"]
PATHS: Final[dict[Endpoint, str]] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "responses": "/responses",
    "embeddings": "/embeddings",
}
LIMITS: Final[dict[Endpoint, str]] = {
    "chat": "max_tokens",
    "completions": "max_tokens",
    "responses": "max_output_tokens",
    "embeddings": "",
}
"""The name of the longest answer; embeddings have none."""
_PARTS: Final = {"text": "input_text", "image_url": "input_image"}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Conversation:
    """Messages in the form of chat completions, ending with what the model is to answer."""

    messages: tuple[dict[str, Any], ...]

    def __len__(self) -> int:
        return len(self.messages)


Prompt = str | Conversation


def content(endpoint: Endpoint, prompt: Prompt) -> dict[str, Any]:
    """Return the field that holds the prompt; ValueError for a conversation where the endpoint takes plain text."""
    if endpoint == "chat":
        return {"messages": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt.messages}
    if endpoint == "responses":
        return {"input": prompt if isinstance(prompt, str) else _items(prompt.messages)}
    if not isinstance(prompt, str):
        raise ValueError(f"the endpoint {endpoint} takes plain text; found a conversation of {len(prompt)} messages")
    return {"prompt" if endpoint == "completions" else "input": prompt}


def streaming(endpoint: Endpoint) -> dict[str, Any]:
    """Return the fields that request a stream, with its usage; responses always report it."""
    if endpoint == "responses":
        return {"stream": True}
    return {"stream": True, "stream_options": {"include_usage": True}}


def _items(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as items of the responses API, which names the parts of a content differently."""
    return [
        {**message, "content": [_part(part, str(message.get("role"))) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _part(part: Any, role: str) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in _PARTS:
        return part
    if kind == "text":
        return {**part, "type": "output_text" if role == "assistant" else "input_text"}
    image = part["image_url"]
    return {"type": "input_image", "image_url": image["url"] if isinstance(image, dict) else image}
