"""/v1/responses, whole and as the events that the SDK expects."""

from __future__ import annotations

from itertools import count
from typing import Any

import orjson

from tailrace.simulator import api_errors, parameters, schema, tokens
from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.api_response import EVENT_STREAM, ApiResponse
from tailrace.simulator.chunks import grouped
from tailrace.simulator.text import Length, Text, created, generate, reasoning, truncate

Event = dict[str, Any]


def respond(request: ParsedRequest) -> ApiResponse:
    """Return the response, or raise ApiError for an invalid request; tools are accepted, and never called."""
    content = request.content
    parameters.model(content)
    parameters.sampling(content, request.dialect)
    in_tok = _count(parameters.required(content, "input")) + _count(content.get("instructions") or "")
    parameters.fits(content["model"], in_tok, "input")
    asked = parameters.length(content, "max_output_tokens")
    thought = reasoning(request, 0, asked)
    text = _text(request, asked.after(len(thought)))
    out_tok = len(thought) + len(text.pieces)
    usage = {
        "input_tokens": in_tok,
        "input_tokens_details": {"cached_tokens": tokens.cached(in_tok, content), "cache_write_tokens": 0},
        "output_tokens": out_tok,
        "output_tokens_details": {"reasoning_tokens": len(thought)},
        "total_tokens": in_tok + out_tok,
    }
    items = ([_reasoning_item(request, thought)] if thought else []) + [_message(request, text)]
    whole = _response(request, text, items, usage)
    if not parameters.flag(content, "stream"):
        return ApiResponse(
            orjson.dumps(whole), in_tok=in_tok, out_tok=out_tok, reasoning_tok=len(thought), steps=out_tok
        )
    parts, sizes, tail = _events(request, whole, thought, text)
    return ApiResponse(
        parts=parts, sizes=sizes, tail=tail, in_tok=in_tok, out_tok=out_tok, reasoning_tok=len(thought), steps=out_tok,
        media=EVENT_STREAM, api="responses",
    )  # fmt: skip


def _count(value: Any) -> int:
    if isinstance(value, str):
        return tokens.count(value)
    if not isinstance(value, list):
        raise api_errors.wrong_type("input", "a string or an array of items", value)
    return tokens.count_messages([item for item in value if isinstance(item, dict)])


def _text(request: ParsedRequest, asked: Length) -> Text:
    form = parameters.mapping(parameters.mapping(request.content, "text"), "format")
    if form.get("type") in ("json_object", "json_schema"):
        return truncate(schema.document(request, 0, parameters.mapping(form, "schema") or None), asked.limit)
    return generate(request, 0, asked)


def _reasoning_item(request: ParsedRequest, thought: tuple[str, ...]) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": "".join(thought)}]
    return {"id": f"rs_{request.digest.hex()[:32]}", "type": "reasoning", "summary": [], "content": content}


def _message(request: ParsedRequest, text: Text) -> dict[str, Any]:
    return {
        "id": f"msg_{request.digest.hex()[:32]}",
        "type": "message",
        "status": "incomplete" if text.truncated else "completed",
        "role": "assistant",
        "content": [_part("".join(text.pieces))],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _response(
    request: ParsedRequest, text: Text, output: list[dict[str, Any]], usage: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the response object; without `usage`, the one that is still in progress."""
    content = request.content
    done = "incomplete" if text.truncated else "completed"
    return {
        "id": f"resp_{request.digest.hex()[:32]}",
        "object": "response",
        "created_at": created(request.digest),
        "status": "in_progress" if usage is None else done,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if usage and text.truncated else None,
        "instructions": content.get("instructions"),
        "max_output_tokens": content.get("max_output_tokens"),
        "model": content["model"],
        "output": output,
        "parallel_tool_calls": content.get("parallel_tool_calls", True),
        "previous_response_id": content.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": content.get("store", True),
        "temperature": content.get("temperature", 1.0),
        "text": content.get("text") or {"format": {"type": "text"}},
        "tool_choice": content.get("tool_choice") or "auto",
        "tools": content.get("tools") or [],
        "top_p": content.get("top_p", 1.0),
        "truncation": content.get("truncation") or "disabled",
        "usage": usage,
        "user": content.get("user"),
        "metadata": content.get("metadata") or {},
    }


def _events(
    request: ParsedRequest, whole: dict[str, Any], thought: tuple[str, ...], text: Text
) -> tuple[tuple[bytes, ...], tuple[int, ...], bytes]:
    """Return the parts of the stream, the tokens in each, and the events that end it: this API has no [DONE]."""
    begun = _response(request, text, [], None)
    opening: list[Event] = [{"type": "response.created", "response": begun},
                            {"type": "response.in_progress", "response": begun}]  # fmt: skip
    parts: list[list[Event]] = []
    sizes: list[int] = []
    between: list[Event] = []
    for place, item in enumerate(whole["output"]):
        thinks = item["type"] == "reasoning"
        begin, deltas, end = (_reasoning_events if thinks else _text_events)(place, item)
        between += begin
        for delta, size in grouped(thought if thinks else text.pieces, request.dialect.tokens_per_chunk):
            parts.append([*between, {**deltas, "delta": delta}])
            sizes.append(size)
            between = []
        between += end
    if request.dialect.role_first or not parts:
        parts.insert(0, opening)
        sizes.insert(0, 0)
    else:
        parts[0] = opening + parts[0]
    tail = [*between, {"type": f"response.{whole['status']}", "response": whole}]
    *written, last = _numbered([*parts, tail])
    return tuple(written), tuple(sizes), last


def _text_events(place: int, item: dict[str, Any]) -> tuple[list[Event], Event, list[Event]]:
    """Return the events that open the message, those of a delta, and those that close it."""
    where = {"item_id": item["id"], "output_index": place, "content_index": 0}
    part = item["content"][0]
    begin = [
        {"type": "response.output_item.added", "output_index": place,
         "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **where, "part": _part("")},
    ]  # fmt: skip
    end = [
        {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **where, "part": part},
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]
    return begin, {"type": "response.output_text.delta", **where, "delta": "", "logprobs": []}, end


def _reasoning_events(place: int, item: dict[str, Any]) -> tuple[list[Event], Event, list[Event]]:
    """Return the events that open the reasoning, those of a delta, and those that close it."""
    where = {"item_id": item["id"], "output_index": place, "content_index": 0}
    begin = [{"type": "response.output_item.added", "output_index": place, "item": {**item, "content": []}}]
    end = [
        {"type": "response.reasoning_text.done", **where, "text": item["content"][0]["text"]},
        {"type": "response.output_item.done", "output_index": place, "item": item},
    ]
    return begin, {"type": "response.reasoning_text.delta", **where, "delta": ""}, end


def _numbered(parts: list[list[Event]]) -> list[bytes]:
    number = count()
    return [
        b"".join(
            b"event: %b\ndata: %b\n\n"
            % (event["type"].encode(), orjson.dumps({**event, "sequence_number": next(number)}))
            for event in part
        )
        for part in parts
    ]
