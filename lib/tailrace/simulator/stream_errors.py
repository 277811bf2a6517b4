"""Errors that a provider sends in the middle of a stream, in the forms that are met in the field."""

from __future__ import annotations

from typing import Literal

import orjson

from tailrace.simulator import api_errors

Form = Literal["object", "event", "finish"]
MESSAGE = "The server had an error while processing your request."


def events(api: str, form: Form) -> bytes:
    """Return what a stream of this API ends with when the model fails.

    `object` is a data line that holds an error object; `event` names it `event: error`; `finish` is a last chunk
    with the finish reason "error", or the event `response.failed`.
    """
    error = api_errors.failing(500, MESSAGE, None).fields
    if api == "responses":
        return _of_responses(error, form)
    if form == "finish":
        member = {"text": ""} if api == "completions" else {"delta": {"content": ""}}
        choice = {"index": 0, **member, "logprobs": None, "finish_reason": "error"}
        kind = "text_completion" if api == "completions" else "chat.completion.chunk"
        chunk = {"id": "failed", "object": kind, "created": 0, "model": "", "choices": [choice]}
        return _event(chunk) + b"data: [DONE]\n\n"
    named = b"event: error\n" if form == "event" else b""
    return named + _event({"error": error}) + b"data: [DONE]\n\n"


def _of_responses(error: dict[str, str | None], form: Form) -> bytes:
    if form == "object":
        return _event({"error": error})
    if form == "event":
        return b"event: error\n" + _event({**error, "type": "error", "sequence_number": 0})
    failed = {"id": "failed", "object": "response", "status": "failed", "output": [],
              "error": {"code": "server_error", "message": MESSAGE}}  # fmt: skip
    return b"event: response.failed\n" + _event({"type": "response.failed", "response": failed, "sequence_number": 0})


def _event(data: object) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"
