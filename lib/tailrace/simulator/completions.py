"""/v1/completions, the legacy endpoint of texts without messages, whole and streamed."""

from __future__ import annotations

from typing import Any

import orjson

from tailrace.simulator import api_errors, chunks, parameters, tokens
from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.api_response import EVENT_STREAM, ApiResponse
from tailrace.simulator.text import Text, created, generate
from tailrace.simulator.usage import ChatUsage

DEFAULT_TOKENS = 16
"""The limit of an answer that no `max_tokens` limits, here as at OpenAI's."""
MAX_PROMPTS = 2_048


def respond(request: ParsedRequest) -> ApiResponse:
    """Return `n` texts for each prompt, or raise ApiError for an invalid request."""
    content = request.content
    parameters.model(content)
    parameters.sampling(content, request.dialect)
    counts = [tokens.count_prompt(prompt) for prompt in parameters.prompts(content, "prompt", MAX_PROMPTS)]
    parameters.fits(content["model"], max(counts), "prompt")
    texts = _texts(request, len(counts))
    in_tok, out_tok = sum(counts), sum(len(text.pieces) for text in texts)
    usage = ChatUsage(in_tok, tokens.cached(in_tok, content))
    head = {
        "id": f"cmpl-{request.digest.hex()[:29]}",
        "object": "text_completion",
        "created": created(request.digest),
        "model": content["model"],
        "system_fingerprint": "fp_simulated",
    }
    steps = max(len(text.pieces) for text in texts)
    if not parameters.flag(content, "stream"):
        listed = [_whole(i, text) for i, text in enumerate(texts)]
        body = orjson.dumps({**head, "choices": listed, "usage": usage.fields(out_tok)})
        return ApiResponse(body, in_tok=in_tok, out_tok=out_tok, steps=steps)
    tracks = [_track(text, request.dialect.tokens_per_chunk) for text in texts]
    counting = parameters.counting(content, usage, request.dialect)
    parts, sizes, tail = chunks.events(head, tracks, counting, opening_first=False)
    return ApiResponse(
        parts=parts, sizes=sizes, tail=tail, in_tok=in_tok, out_tok=out_tok, steps=steps, media=EVENT_STREAM,
        api="completions",
    )  # fmt: skip


def _texts(request: ParsedRequest, prompts: int) -> list[Text]:
    choices = prompts * (parameters.integer(request.content, "n", 1, 128) or 1)
    if choices > MAX_PROMPTS:
        raise api_errors.wrong_value("n", f"expected at most {MAX_PROMPTS} choices in all, but got {choices}")
    asked = parameters.length(request.content, "max_tokens", default=DEFAULT_TOKENS)
    return [generate(request, index, asked) for index in range(choices)]


def _finish(text: Text) -> str:
    return "length" if text.truncated else "stop"


def _whole(index: int, text: Text) -> dict[str, Any]:
    return {"index": index, "text": text.text, "logprobs": None, "finish_reason": _finish(text)}


def _track(text: Text, size: int) -> chunks.Track:
    groups = chunks.grouped(text.pieces, size) or [("", 0)]
    members = tuple(b'"text":' + orjson.dumps(piece) for piece, _ in groups)
    return chunks.Track(b"", members, tuple(size for _, size in groups), b'"text":""', _finish(text))
