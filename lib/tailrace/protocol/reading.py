"""What an answer says: one frozen row, the same for a stream and for a plain body."""

from __future__ import annotations

import json
from array import array
from typing import Any, Final, NamedTuple

import orjson

from tailrace.protocol.usage import NO_USAGE, Usage

FINISHED: Final = frozenset({"stop", "tool_calls", "function_call"})
"""Not `length` and not `content_filter`: those answers were cut."""
NO_GAPS: Final[array[int]] = array("q")


class Answer(NamedTuple):
    """One answer; its times are those that `feed` was given, 0 for a token that did not come in a stream."""

    failure: str = ""
    """A class of `protocol.failures`; "" for an answer without a failure."""
    chunks: int = 0
    """The chunks of a stream that carry tokens."""
    usage: Usage = NO_USAGE
    model: str = ""
    """The model by the name that it gives itself; "" when it gives none."""
    first_token_ns: int = 0
    """The first chunk with a token of any kind."""
    answer_token_ns: int = 0
    """The first chunk with a token that is not reasoning."""
    last_token_ns: int = 0
    gaps_us: array[int] = NO_GAPS
    """Between the chunks that carry tokens, in their order; not to be changed."""
    finish_reasons: tuple[str, ...] = ()
    complete: bool = False
    """Whether it is all that was to come, and so may be cached."""
    ended: bool = False
    """Whether its end came: `[DONE]`, a last event, or a finish reason and a clean end."""


NO_ANSWER: Final = Answer()


def loads(data: bytes | str) -> Any:
    """Return the JSON in `data`, of all that the SDK accepts (NaN, half a surrogate pair); ValueError for no JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def is_error(document: dict[str, Any]) -> bool:
    """Whether `document` is an error: of OpenAI's form, or of vLLM's older one."""
    return bool(document.get("error")) or document.get("object") == "error" or document.get("type") == "error"


def is_empty(reasons: tuple[str, ...], counts: Usage) -> bool:
    """Whether an answer without a token holds nothing: no filter took it away, and no reasoning was hidden."""
    return counts.reasoning_tok == 0 and "content_filter" not in reasons
