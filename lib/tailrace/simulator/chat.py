"""/v1/chat/completions, whole and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import orjson

from tailrace.simulator import api_errors, parameters, schema, tokens
from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.text import Text, created, generate, truncate

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
EVENT_STREAM = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: a text, or a tool call whose arguments are the text."""

    text: Text
    tool: str = ""
    call_id: str = ""

    @property
    def finish(self) -> str:
        return "length" if self.text.truncated else "tool_calls" if self.tool else "stop"


def respond(request: ParsedRequest) -> ApiResponse:
    """Return the completion, or raise ApiError for an invalid request."""
    content = request.content
    parameters.model(content)
    parameters.sampling(content)
    in_tok = tokens.count_messages(_messages(content))
    parameters.fits(content["model"], in_tok, "messages")
    choices = _choices(request)
    lengths = [len(choice.text.pieces) for choice in choices]
    out_tok, steps = sum(lengths), max(lengths)
    usage = _usage(in_tok, out_tok, tokens.cached(in_tok, content))
    head = {
        "id": f"chatcmpl-{request.digest.hex()[:29]}",
        "object": "chat.completion",
        "created": created(request.digest),
        "model": content["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }
    if not parameters.flag(content, "stream"):
        body = orjson.dumps({**head, "choices": [_whole(i, c) for i, c in enumerate(choices)], "usage": usage})
        return ApiResponse(body, in_tok=in_tok, out_tok=out_tok, steps=steps)
    counted = bool(parameters.mapping(content, "stream_options").get("include_usage"))
    parts, tail = _events({**head, "object": "chat.completion.chunk"}, choices, usage if counted else None)
    return ApiResponse(parts=parts, tail=tail, in_tok=in_tok, out_tok=out_tok, steps=steps, media=EVENT_STREAM)


def _messages(content: dict[str, Any]) -> list[dict[str, Any]]:
    messages = parameters.required(content, "messages")
    if not isinstance(messages, list):
        raise api_errors.wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise api_errors.wrong_value("messages", "expected an array with at least 1 element, but got an empty one")
    for place, message in enumerate(messages):
        _check(message, f"messages[{place}]")
    return messages


def _check(message: Any, place: str) -> None:
    if not isinstance(message, dict):
        raise api_errors.wrong_type(place, "an object", message)
    role, content = message.get("role"), message.get("content")
    if role is None:
        raise api_errors.missing(f"{place}.role")
    if not isinstance(role, str) or role not in ROLES:
        raise api_errors.wrong_value(f"{place}.role", f"expected one of {', '.join(sorted(ROLES))}, but got {role!r}")
    if content is None and role != "assistant":
        raise api_errors.missing(f"{place}.content")
    if not isinstance(content, str | list | None):
        raise api_errors.wrong_type(f"{place}.content", "a string or an array of parts", content)


def _choices(request: ParsedRequest) -> list[Choice]:
    content = request.content
    count = parameters.integer(content, "n", 1, 128) or 1
    limit = parameters.integer(content, "max_completion_tokens", 1, 1_000_000)
    if limit is None:
        limit = parameters.integer(content, "max_tokens", 1, 1_000_000)
    return [_choice(request, index, limit) for index in range(count)]


def _choice(request: ParsedRequest, index: int, limit: int | None) -> Choice:
    tool = _tool(request.content)
    if tool is not None:
        text = truncate(
            schema.document(request, index, parameters.mapping(tool, "parameters") or {"type": "object"}), limit
        )
        return Choice(text, str(tool.get("name")), f"call_{request.digest.hex()[:24]}{index}")
    form = parameters.mapping(request.content, "response_format")
    if form.get("type") in ("json_object", "json_schema"):
        json_schema = parameters.mapping(parameters.mapping(form, "json_schema"), "schema")
        return Choice(truncate(schema.document(request, index, json_schema or None), limit))
    return Choice(generate(request, index, limit))


def _tool(content: dict[str, Any]) -> dict[str, Any] | None:
    """Return the function to call if the request demands a call, by name or by "required"; else None."""
    choice = content.get("tool_choice")
    functions = [parameters.mapping(tool, "function") for tool in parameters.objects(content, "tools")]
    if choice == "required" and functions:
        return functions[0]
    if isinstance(choice, dict):
        name = parameters.mapping(choice, "function").get("name")
        return next((function for function in functions if function.get("name") == name), None)
    return None


def _whole(index: int, choice: Choice) -> dict[str, Any]:
    text = "".join(choice.text.pieces)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if choice.tool:
        function = {"name": choice.tool, "arguments": text}
        message |= {
            "content": None,
            "tool_calls": [{"id": choice.call_id, "type": "function", "function": function}],
        }
    return {"index": index, "message": message, "logprobs": None, "finish_reason": choice.finish}


def _events(
    head: dict[str, Any], choices: list[Choice], usage: dict[str, Any] | None
) -> tuple[tuple[bytes, ...], bytes]:
    """Return the events sent with each token, and those that end the stream, with a chunk for `usage` if given."""
    before = orjson.dumps(head)[:-1] + b',"choices":['
    after = b"" if usage is None else b',"usage":null'
    opening = b"".join(_event(before, i, _opening(c), None, after) for i, c in enumerate(choices))
    columns = zip_longest(*(c.text.pieces for c in choices))
    parts = [
        b"".join(
            _event(before, i, _delta(choices[i], piece), None, after)
            for i, piece in enumerate(column)
            if piece is not None
        )
        for column in columns
    ]
    parts[0] = opening + parts[0]
    tail = b"".join(_event(before, i, b"{}", c.finish, after) for i, c in enumerate(choices))
    if usage is not None:
        tail += b"data: " + before + b'],"usage":' + orjson.dumps(usage) + b"}\n\n"
    return tuple(parts), tail + b"data: [DONE]\n\n"


def _opening(choice: Choice) -> bytes:
    if not choice.tool:
        return b'{"role":"assistant","content":"","refusal":null}'
    function = {"name": choice.tool, "arguments": ""}
    call = {"index": 0, "id": choice.call_id, "type": "function", "function": function}
    return orjson.dumps({"role": "assistant", "content": None, "tool_calls": [call]})


def _delta(choice: Choice, piece: str) -> bytes:
    text = orjson.dumps(piece)
    if choice.tool:
        return b'{"tool_calls":[{"index":0,"function":{"arguments":' + text + b"}}]}"
    return b'{"content":' + text + b"}"


def _event(before: bytes, index: int, delta: bytes, finish: str | None, after: bytes) -> bytes:
    # By hand: orjson for every token would take most of the time of a stream.
    reason = b"null" if finish is None else b'"' + finish.encode() + b'"'
    return (
        b"data: %b" % before
        + b'{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]' % (index, delta, reason)
        + after
        + b"}\n\n"
    )


def _usage(in_tok: int, out_tok: int, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": in_tok,
        "completion_tokens": out_tok,
        "total_tokens": in_tok + out_tok,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
