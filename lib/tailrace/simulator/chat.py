"""/v1/chat/completions, whole and streamed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tailrace.simulator import api_errors, chunks, parameters, schema, tokens
from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.api_response import EVENT_STREAM, ApiResponse
from tailrace.simulator.dialect import Dialect
from tailrace.simulator.text import Length, Text, created, generate, reasoning, truncate
from tailrace.simulator.usage import ChatUsage

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice: reasoning, then a text, or a tool call whose arguments are the text."""

    text: Text
    reasoning: tuple[str, ...] = ()
    tool: str = ""
    call_id: str = ""

    @property
    def finish(self) -> str:
        return "length" if self.text.truncated else "tool_calls" if self.tool else "stop"

    @property
    def tokens(self) -> int:
        return len(self.reasoning) + len(self.text.pieces)


def respond(request: ParsedRequest) -> ApiResponse:
    """Return the completion, or raise ApiError for an invalid request."""
    content = request.content
    parameters.model(content)
    parameters.sampling(content, request.dialect)
    if request.dialect.reasoning_model and content.get("max_tokens") is not None:
        raise api_errors.unsupported("max_tokens", "max_completion_tokens")
    in_tok = tokens.count_messages(_messages(content))
    parameters.fits(content["model"], in_tok, "messages")
    choices = _choices(request)
    out_tok, reasoning_tok = sum(c.tokens for c in choices), sum(len(c.reasoning) for c in choices)
    usage = ChatUsage(in_tok, tokens.cached(in_tok, content), reasoning_tok)
    head = {
        "id": f"chatcmpl-{request.digest.hex()[:29]}",
        "object": "chat.completion",
        "created": created(request.digest),
        "model": content["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }
    steps = max(choice.tokens for choice in choices)
    if not parameters.flag(content, "stream"):
        listed = [_whole(i, choice, request.dialect) for i, choice in enumerate(choices)]
        body = orjson.dumps({**head, "choices": listed, "usage": usage.fields(out_tok)})
        return ApiResponse(body, in_tok=in_tok, out_tok=out_tok, reasoning_tok=reasoning_tok, steps=steps)
    head["object"] = "chat.completion.chunk"
    tracks = [_track(choice, request.dialect) for choice in choices]
    counting = parameters.counting(content, usage, request.dialect)
    parts, sizes, tail = chunks.events(head, tracks, counting, opening_first=request.dialect.role_first)
    return ApiResponse(
        parts=parts, sizes=sizes, tail=tail, in_tok=in_tok, out_tok=out_tok, reasoning_tok=reasoning_tok, steps=steps,
        media=EVENT_STREAM, api="chat",
    )  # fmt: skip


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
    count = parameters.integer(request.content, "n", 1, 128) or 1
    asked = parameters.length(request.content, "max_completion_tokens", "max_tokens")
    return [_choice(request, index, asked) for index in range(count)]


def _choice(request: ParsedRequest, index: int, asked: Length) -> Choice:
    thought = reasoning(request, index, asked)
    rest = asked.after(len(thought))
    tool = _tool(request.content)
    if tool is not None:
        arguments = schema.document(request, index, parameters.mapping(tool, "parameters") or {"type": "object"})
        text = truncate(arguments, rest.limit)
        return Choice(text, thought, str(tool.get("name")), f"call_{request.digest.hex()[:24]}{index}")
    form = parameters.mapping(request.content, "response_format")
    if form.get("type") in ("json_object", "json_schema"):
        json_schema = parameters.mapping(parameters.mapping(form, "json_schema"), "schema")
        return Choice(truncate(schema.document(request, index, json_schema or None), rest.limit), thought)
    return Choice(generate(request, index, rest), thought)


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


def _whole(index: int, choice: Choice, dialect: Dialect) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text.text, "refusal": None, "annotations": []}
    if choice.tool:
        function = {"name": choice.tool, "arguments": choice.text.text}
        message |= {
            "content": None,
            "tool_calls": [{"id": choice.call_id, "type": "function", "function": function}],
        }
    if choice.reasoning:
        message[dialect.reasoning_field] = "".join(choice.reasoning)
    return {"index": index, "message": message, "logprobs": None, "finish_reason": choice.finish}


def _track(choice: Choice, dialect: Dialect) -> chunks.Track:
    before, after = (
        (b'"delta":{"tool_calls":[{"index":0,"function":{"arguments":', b"}}]}")
        if choice.tool
        else (b'"delta":{"content":', b"}")
    )
    groups = chunks.grouped(choice.text.pieces, dialect.tokens_per_chunk)
    members = [before + orjson.dumps(text) + after for text, _ in groups]
    sizes = [size for _, size in groups]
    if choice.reasoning:
        thoughts = chunks.grouped(choice.reasoning, dialect.tokens_per_chunk)
        before = b'"delta":{"%b":' % dialect.reasoning_field.encode()
        members = [before + orjson.dumps(text) + b"}" for text, _ in thoughts] + members
        sizes = [size for _, size in thoughts] + sizes
    return chunks.Track(_opening(choice), tuple(members), tuple(sizes), b'"delta":{}', choice.finish)


def _opening(choice: Choice) -> bytes:
    if not choice.tool:
        return b'"delta":{"role":"assistant","content":"","refusal":null}'
    function = {"name": choice.tool, "arguments": ""}
    call = {"index": 0, "id": choice.call_id, "type": "function", "function": function}
    return b'"delta":' + orjson.dumps({"role": "assistant", "content": None, "tool_calls": [call]})
