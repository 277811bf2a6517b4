"""A table of event streams, and what each reader has to say about them: load generator, client, service."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson


class EventStream(NamedTuple):
    """A stream as a server sends it, and its meaning; `text` is what a caller sees, None when it does not matter."""

    name: str
    body: bytes
    failure: str = ""
    chunks: int = 2
    in_tok: int = 7
    out_tok: int = 3
    reasoning_tok: int = 0
    complete: bool = True
    text: str | None = "ab"
    encoding: str = ""
    content_type: str = "text/event-stream"
    path: str = "/chat/completions"
    sdk: bool = True
    """Whether the SDK reads it, or gives up on it."""


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk of a chat completion."""
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def usage(in_tok: int | float = 7, out_tok: int | float = 3, **more: Any) -> dict[str, Any]:
    """Return the chunk that holds the usage."""
    counts = {"prompt_tokens": in_tok, "completion_tokens": out_tok, "total_tokens": in_tok + out_tok, **more}
    return {**delta(), "choices": [], "usage": counts}


def event(document: object, end: bytes = b"\n\n") -> bytes:
    """Return the event with `document` as its data."""
    data = document if isinstance(document, bytes) else orjson.dumps(document)
    return b"data: " + data + end


def stream(*documents: object, end: bytes = b"\n\n") -> bytes:
    """Return the events with these documents."""
    return b"".join(event(document, end) for document in documents)


ROLE, A, B, STOP, USAGE = (
    delta(role="assistant", content=""),
    delta(content="a"),
    delta(content="b"),
    delta("stop"),
    usage(),
)
DONE = b"[DONE]"
GOOD = (ROLE, A, B, STOP, USAGE, DONE)
_LINES = b"".join(
    b"".join(b"data: " + line + b"\n" for line in (orjson.dumps(one, option=orjson.OPT_INDENT_2).splitlines())) + b"\n"
    for one in GOOD[:-1]
)
_CALL = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
_ERROR = {"error": {"message": "boom", "code": 500}}


def _response(kind: str, **more: Any) -> bytes:
    return b"event: " + kind.encode() + b"\n" + event({"type": kind, **more})


_CREATED = _response("response.created", response={"id": "r", "status": "in_progress", "error": None})
_HELLO = b"".join(_response("response.output_text.delta", delta=text, output_index=0) for text in "ab")


def _over(status: str, **more: Any) -> bytes:
    counts = {"input_tokens": 7, "output_tokens": 3}
    return _response(
        f"response.{status}", response={"id": "r", "model": "m", "status": status, "usage": counts, **more}
    )


GRAMMAR = [
    EventStream("as most servers send it", stream(*GOOD)),
    EventStream("CRLF", stream(*GOOD, end=b"\r\n\r\n")),
    EventStream("CR alone", stream(*GOOD, end=b"\r\r")),
    EventStream("mixed line ends", event(ROLE, b"\r\n\n") + event(A, b"\n\r\n") + event(B, b"\r\r\n")
        + stream(*GOOD[3:])),
    EventStream("no blank after the colon", stream(*GOOD).replace(b"data: ", b"data:")),
    EventStream("event, id and retry fields",
        stream(*GOOD).replace(b"data: ", b"event: message\nid: 7\nretry: 10\ndata: ")),
    EventStream("fields after the data", stream(*GOOD, end=b"\nid: 7\nevent: message\n\n")),
    EventStream("unknown fields", stream(*GOOD).replace(b"data: ", b"datas: x\nfoo\ndata: ")),
    EventStream("a byte order mark", b"\xef\xbb\xbf" + stream(*GOOD)),
    EventStream("a comment first", b": ping\n\n" + stream(*GOOD)),
    EventStream("comments between", stream(*GOOD, end=b"\n\n:\n\n: OPENROUTER PROCESSING\n\n")),
    EventStream("comments inside of events", stream(*GOOD).replace(b"data: ", b": x\ndata: ")),
    EventStream("comments after the end", stream(*GOOD) + b": ping\n\n: ping\n\n"),
    EventStream("blank lines", b"\n\n\n" + stream(*GOOD, end=b"\n\n\n\n\n")),
    EventStream("data over several lines", _LINES + event(DONE)),
    EventStream("empty data as a heartbeat", b"data:\n\n" + stream(*GOOD), sdk=False),
    EventStream("[DONE] with one line end", stream(*GOOD[:-1]) + b"data: [DONE]\n"),
    EventStream("[DONE] without a line end", stream(*GOOD[:-1]) + b"data: [DONE]"),
    EventStream("content-type in capitals", stream(*GOOD), content_type="Text/Event-Stream; charset=UTF-8"),
    EventStream("content-type with blanks", stream(*GOOD), content_type="text/event-stream ;charset=utf-8"),
    EventStream("text that quotes the end", stream(ROLE, delta(content="data: [DONE]\n\n"), B, STOP, USAGE, DONE),
        text=None),
    EventStream("chunks after the end", stream(*GOOD, A, B, _ERROR)),
]  # fmt: skip

TOKENS = [
    EventStream("reasoning_content", stream(ROLE, delta(reasoning_content="hm"), A, B, STOP,
        usage(completion_tokens_details={"reasoning_tokens": 1}), DONE), chunks=3, reasoning_tok=1),
    EventStream("reasoning", stream(ROLE, delta(reasoning="hm"), A, B, STOP, USAGE, DONE), chunks=3),
    EventStream("all reasoning, cut by the limit", stream(ROLE, *[delta(reasoning_content="hm")] * 5, delta("length"),
        usage(7, 5), DONE), chunks=5, out_tok=5, complete=False, text=""),
    EventStream("reasoning that is hidden", stream(ROLE, delta("length"),
        usage(completion_tokens_details={"reasoning_tokens": 3}), DONE), chunks=0, reasoning_tok=3,
        complete=False, text=""),
    EventStream("tool calls", stream(delta(role="assistant", content=None, tool_calls=[_CALL]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ""}}]), delta("tool_calls"), USAGE, DONE), text=""),
    EventStream("a refusal", stream(ROLE, delta(refusal="No."), STOP, USAGE, DONE), chunks=1, text=""),
    EventStream("audio", stream(ROLE, delta(audio={"id": "x"}), delta(audio={"transcript": "a"}),
        delta(audio={"data": "AAAA"}), STOP, USAGE, DONE), text=""),
    EventStream("legacy completions", stream(*[{"choices": [{"index": 0, "text": text, "finish_reason": None}]}
        for text in "ab"], {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, USAGE, DONE), text=None,
        path="/completions"),
    EventStream("null in place of fields", stream({**ROLE, "usage": None, "error": None},
        *[delta(content=text, tool_calls=None, refusal=None, audio=None, reasoning=None) for text in "ab"], STOP,
        USAGE, DONE)),
    EventStream("Azure's first chunk and no choices", stream(
        {"choices": [], "model": "", "prompt_filter_results": [{}]}, ROLE, A, B, STOP, {**USAGE, "choices": None},
        DONE), text=None),
    EventStream("usage in every chunk", stream(*[{**one, "usage": {"prompt_tokens": 7, "completion_tokens": count}}
        for count, one in enumerate((ROLE, A, B, STOP))], DONE)),
    EventStream("usage null, then in the last", stream(*[{**one, "usage": None} for one in GOOD[:4]], USAGE, DONE)),
    EventStream("usage as floats", stream(ROLE, A, B, STOP, usage(7.0, 3.0), DONE), text=None),
    EventStream("no usage", stream(ROLE, A, B, STOP, DONE), in_tok=0, out_tok=0),
]  # fmt: skip

ENDS = [
    EventStream("finish reason, clean end", stream(*GOOD[:-1]), complete=False),
    EventStream("eos_token (TGI)", stream(ROLE, A, B, delta("eos_token"), USAGE, DONE), complete=False),
    EventStream("cut by the limit", stream(ROLE, A, B, delta("length"), USAGE, DONE), complete=False),
    EventStream("[DONE] without a finish reason", stream(ROLE, A, B, USAGE, DONE), complete=False),
    EventStream("no end at all", stream(ROLE, A, B), "cut_stream", in_tok=0, out_tok=0, complete=False, text=None),
    EventStream("cut inside of an event", stream(ROLE, A, B) + b'data: {"id"', "cut_stream", in_tok=0, out_tok=0,
        complete=False, text=None),
    EventStream("no event", b": ping\n\n", "cut_stream", 0, 0, 0, complete=False, text=None),
    EventStream("an error object", stream(ROLE, A, _ERROR, DONE), "error_event", 1, 0, 0, complete=False, text=None),
    EventStream("an error, then the end", stream(ROLE, A, _ERROR), "error_event", 1, 0, 0, complete=False, text=None),
    EventStream("an error as text", stream(ROLE, A, {"error": "overloaded", "error_type": "overloaded"}), "error_event",
        1, 0, 0, complete=False, text=None),
    EventStream("an error of old vLLM", stream(ROLE, A, {"object": "error", "message": "boom", "code": 400}, DONE),
        "error_event", 1, 0, 0, complete=False, text=None),
    EventStream("event: error", stream(ROLE, A) + b"event: error\n" + stream({"message": "engine died"}, DONE),
        "error_event", 1, 0, 0, complete=False, text=None),
    EventStream("finish reason error", stream(ROLE, A, delta("error"), DONE), "error_event", 1, 0, 0, complete=False,
        text=None),
    EventStream("finish reason and error", stream(ROLE, A, {**delta("error", content=""), **_ERROR}, DONE),
        "error_event", 1, 0, 0, complete=False, text=None),
    EventStream("nothing but [DONE]", stream(DONE), "empty_answer", 0, 0, 0, complete=False, text=None),
    EventStream("a role and no token", stream(ROLE, STOP, DONE), "empty_answer", 0, 0, 0, complete=False, text=None),
    EventStream("not JSON", stream(ROLE, A, b"{oops", STOP, DONE), "bad_body", 1, 0, 0, complete=False, text=None),
    EventStream("not an object", stream(ROLE, A, 42, STOP, DONE), "bad_body", 1, 0, 0, complete=False, text=None),
]  # fmt: skip

RESPONSES = [
    EventStream("a response", _CREATED + _HELLO + _over("completed"), text=None, path="/responses"),
    EventStream("a response, then [DONE]", _CREATED + _HELLO + _over("completed") + event(DONE), text=None,
        path="/responses"),
    EventStream("a response that reasons", _CREATED + _response("response.reasoning_text.delta", delta="hm") + _HELLO
        + _over("completed"), chunks=3, text=None, path="/responses"),
    EventStream("a response that calls a function",
        _CREATED + _response("response.output_item.added", item={"type": "function_call", "name": "f"})
        + _response("response.function_call_arguments.delta", delta="{}") + _over("completed"), text=None,
        path="/responses"),
    EventStream("an incomplete response", _CREATED + _HELLO + _over("incomplete"), complete=False, text=None,
        path="/responses"),
    EventStream("a failed response", _CREATED + _HELLO + _over("failed"), "error_event", complete=False, text=None,
        path="/responses"),
    EventStream("an error of the responses API", _CREATED + _HELLO + _response("error", message="boom"), "error_event",
        in_tok=0, out_tok=0, complete=False, text=None, path="/responses"),
    EventStream("a cut response", _CREATED + _HELLO, "cut_stream", in_tok=0, out_tok=0, complete=False, text=None,
        path="/responses"),
    EventStream("an empty response", _CREATED + _over("completed", output=[]), "empty_answer", 0, complete=False,
        text=None, path="/responses"),
]  # fmt: skip

ALL = [*GRAMMAR, *TOKENS, *ENDS, *RESPONSES]
