"""/v1/responses, whole and as the events that the SDK expects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from tailrace.simulator import api_errors, parameters, schema, tokens
from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.chat import EVENT_STREAM
from tailrace.simulator.text import Text, created, generate, truncate


def respond(request: ParsedRequest) -> ApiResponse:
    """Return the response, or raise ApiError for an invalid request; tools are accepted, and never called."""
    content = request.content
    parameters.model(content)
    parameters.sampling(content)
    in_tok = _count(parameters.required(content, "input")) + _count(content.get("instructions") or "")
    parameters.fits(content["model"], in_tok, "input")
    text = _text(request)
    out_tok = len(text.pieces)
    usage = {
        "input_tokens": in_tok,
        "input_tokens_details": {"cached_tokens": tokens.cached(in_tok, content), "cache_write_tokens": 0},
        "output_tokens": out_tok,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": in_tok + out_tok,
    }
    message = _message(request, text)
    whole = _response(request, text, [message], usage)
    if not parameters.flag(content, "stream"):
        return ApiResponse(orjson.dumps(whole), in_tok=in_tok, out_tok=out_tok, steps=out_tok)
    parts, tail = _events(request, whole, message, text)
    return ApiResponse(parts=parts, tail=tail, in_tok=in_tok, out_tok=out_tok, steps=out_tok, media=EVENT_STREAM)


def _count(value: Any) -> int:
    if isinstance(value, str):
        return tokens.count(value)
    if not isinstance(value, list):
        raise api_errors.wrong_type("input", "a string or an array of items", value)
    return tokens.count_messages([item for item in value if isinstance(item, dict)])


def _text(request: ParsedRequest) -> Text:
    limit = parameters.integer(request.content, "max_output_tokens", 1, 1_000_000)
    form = parameters.mapping(parameters.mapping(request.content, "text"), "format")
    if form.get("type") in ("json_object", "json_schema"):
        return truncate(schema.document(request, 0, parameters.mapping(form, "schema") or None), limit)
    return generate(request, 0, limit)


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
    request: ParsedRequest, whole: dict[str, Any], message: dict[str, Any], text: Text
) -> tuple[tuple[bytes, ...], bytes]:
    """Return the events sent with each token, and those that end the stream: this API has no [DONE]."""
    begun = _response(request, text, [], None)
    place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    part = message["content"][0]
    opening = _numbered(0, [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0,
         "item": {**message, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **place, "part": _part("")},
    ])  # fmt: skip
    deltas = [
        _numbered(4 + i, [{"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}])
        for i, piece in enumerate(text.pieces)
    ]
    tail = _numbered(4 + len(deltas), [
        {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": message},
        {"type": f"response.{whole['status']}", "response": whole},
    ])  # fmt: skip
    return (opening + deltas[0], *deltas[1:]), tail


def _numbered(first: int, events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps({**event, "sequence_number": first + i}))
        for i, event in enumerate(events)
    )
