"""Reads an HTTP answer: success or a class of failure, tokens, chunks, and the facts in its headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from tailrace.headers import ATTEMPTS, BACKOFF, CACHE, COLOUR, COST, GENERATION, RELEASE
from tailrace.load.http1 import HttpAnswer
from tailrace.load.outcome import BAD_BODY, CUT_STREAM, HITS, RESET, RequestOutcome

_CACHE, _ATTEMPTS, _BACKOFF, _COST = (name.encode() for name in (CACHE, ATTEMPTS, BACKOFF, COST))
_COLOUR, _RELEASE, _GENERATION = (name.encode() for name in (COLOUR, RELEASE, GENERATION))
_ENDS = frozenset({"response.completed", "response.incomplete"})


class BodyFacts(NamedTuple):
    """The failure, chunks and usage in a body."""

    error_type: str = ""
    chunks: int = 0
    in_tok: int = 0
    out_tok: int = 0
    cached_tok: int = 0


def judge(reply: HttpAnswer, *, openai: bool) -> RequestOutcome:
    """Return the outcome of `reply`; with `openai`, its body must be that of an OpenAI-compatible API."""
    headers = reply.headers
    streamed = headers.get(b"content-type", b"").startswith(b"text/event-stream")
    facts = BodyFacts()
    if not reply.whole:
        facts = BodyFacts(_broken(reply, streamed))
    elif reply.status >= 400:
        facts = BodyFacts(f"http_{reply.status}")
    elif openai:
        body = b"".join(reply.body)
        facts = read_stream(body) if streamed else read_json(body)
    cache = headers.get(_CACHE, b"").decode("latin-1")
    return RequestOutcome(
        error_type=facts.error_type,
        status=reply.status,
        first_ns=reply.first_ns,
        last_ns=reply.last_ns,
        cache=cache,
        colour=headers.get(_COLOUR, b"").decode("latin-1"),
        release=headers.get(_RELEASE, b"").decode("latin-1"),
        generation=_number(headers.get(_GENERATION), 0),
        attempts=_number(headers.get(_ATTEMPTS), 0 if cache in HITS else 1),
        backoff_us=_number(headers.get(_BACKOFF), 0),
        chunks=facts.chunks,
        in_tok=facts.in_tok,
        out_tok=facts.out_tok,
        cached_tok=facts.cached_tok,
        cost_microusd=_number(headers.get(_COST), -1),
    )


def read_json(body: bytes) -> BodyFacts:
    """Return the usage of a plain answer; "bad_body" when it is not a JSON object or holds an error."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return BodyFacts(BAD_BODY)
    if not isinstance(answer, dict) or answer.get("error"):
        return BodyFacts(BAD_BODY)
    return BodyFacts("", 0, *_usage(answer))


def read_stream(body: bytes) -> BodyFacts:
    """Return the chunks and usage of server-sent events; "cut_stream" when the terminator is missing."""
    chunks, usage, ended = 0, (0, 0, 0), False
    for data in _events(body):
        if data == b"[DONE]":
            ended = True
            continue
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            return BodyFacts(BAD_BODY, chunks, *usage)
        if not isinstance(event, dict) or event.get("error"):
            return BodyFacts(BAD_BODY, chunks, *usage)
        ended = ended or event.get("type") in _ENDS
        chunks += _has_content(event)
        holder = event if event.get("usage") else event.get("response")
        if isinstance(holder, dict) and holder.get("usage"):
            usage = _usage(holder)
    return BodyFacts("" if ended else CUT_STREAM, chunks, *usage)


def _broken(reply: HttpAnswer, streamed: bool) -> str:
    if reply.broken == "garbage":
        return BAD_BODY
    return CUT_STREAM if streamed and 200 <= reply.status < 300 else RESET


def _events(body: bytes) -> Iterator[bytes]:
    for line in body.split(b"\n"):
        if line.startswith(b"data:"):
            yield line[5:].strip()


def _has_content(event: dict[str, Any]) -> bool:
    kind = event.get("type")
    if isinstance(kind, str):
        return kind.endswith(".delta")
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return False
    delta = choices[0].get("delta")
    return isinstance(delta, dict) and bool(delta.get("content") or delta.get("tool_calls"))


def _usage(answer: dict[str, Any]) -> tuple[int, int, int]:
    """Return input, output and cached tokens, by the names of chat completions or of responses."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return 0, 0, 0
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    counts = (
        usage.get("prompt_tokens", usage.get("input_tokens")),
        usage.get("completion_tokens", usage.get("output_tokens")),
        details.get("cached_tokens") if isinstance(details, dict) else 0,
    )
    first, second, third = (count if isinstance(count, int) else 0 for count in counts)
    return first, second, third


def _number(value: bytes | None, default: int) -> int:
    return int(value) if value is not None and value.isdigit() else default
