"""What a part of an answer carries: a chunk of a stream, or a message that is whole."""

from __future__ import annotations

from typing import Any, Final

NOTHING: Final = 0
"""A role, a comment, usage, the results of a filter: not a token."""
REASONING: Final = 1
ANSWER: Final = 2
"""Content, a refusal, a tool call, or audio."""


def message_carries(message: object) -> int:
    """Return what the delta or message of a chat completion carries."""
    if not isinstance(message, dict):
        return NOTHING
    content = message.get("content")
    if content:
        return ANSWER if isinstance(content, str) else _parts_carry(content)
    if message.get("reasoning_content") or message.get("reasoning"):
        return REASONING
    calls = message.get("tool_calls")
    if (calls and _calls(calls)) or message.get("refusal"):
        return ANSWER
    audio = message.get("audio")
    if isinstance(audio, dict) and (audio.get("data") or audio.get("transcript")):
        return ANSWER
    return ANSWER if _named(message.get("function_call")) else NOTHING


def event_carries(kind: str, event: dict[str, Any]) -> int:
    """Return what an event of the responses API carries, by its `type`."""
    if kind.endswith(".delta"):
        if not event.get("delta"):
            return NOTHING
        return REASONING if kind.startswith("response.reasoning") else ANSWER
    if kind == "response.output_item.added":
        item = event.get("item")
        # the name of the tool was generated, as in the first chunk of a tool call of a chat completion
        return ANSWER if isinstance(item, dict) and str(item.get("type")).endswith("_call") else NOTHING
    return NOTHING


def output_carries(output: object) -> int:
    """Return what the `output` of a whole response carries."""
    kinds = [_item_carries(item) for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    return max(kinds, default=NOTHING)


def _item_carries(item: dict[str, Any]) -> int:
    kind = str(item.get("type"))
    if kind == "reasoning":
        return REASONING
    if kind != "message":
        return ANSWER
    return _parts_carry(item.get("content"))


def _parts_carry(parts: object) -> int:
    """Return what a list of content parts carries, as of the responses API, and of Mistral's models that reason."""
    if not isinstance(parts, list):
        return ANSWER if parts else NOTHING
    found = NOTHING
    for part in parts:
        if not isinstance(part, dict):
            found = max(found, ANSWER if part else NOTHING)
        elif part.get("thinking"):
            found = max(found, REASONING)
        elif any(value for key, value in part.items() if key not in ("type", "annotations", "logprobs")):
            found = ANSWER
    return found


def _calls(calls: object) -> bool:
    if not isinstance(calls, list):
        return False
    return any(
        isinstance(call, dict) and (call.get("id") or _named(call.get("function")) or _named(call.get("custom")))
        for call in calls
    )


def _named(call: object) -> bool:
    """Whether a call of a function brings a name or a part of its arguments."""
    return isinstance(call, dict) and bool(call.get("name") or call.get("arguments") or call.get("input"))
