"""/v1/embeddings: unit vectors drawn from the digest of the request."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array
from typing import Any

import orjson

from tailrace.simulator import parameters, refusals, tokens
from tailrace.simulator.answers import Answer, Question

DIMENSIONS = {"text-embedding-3-large": 3_072}
DEFAULT_DIMENSIONS = 1_536
MAX_INPUTS = 2_048
CONTEXT_TOKENS = 8_192


def answer(question: Question) -> Answer:
    """Check the request and answer it, one vector per input."""
    content = question.content
    model = parameters.model(content)
    counts = [_count(item) for item in _inputs(parameters.required(content, "input"))]
    if max(counts) > CONTEXT_TOKENS:
        raise refusals.too_long(CONTEXT_TOKENS, max(counts), "input")
    size = parameters.integer(content, "dimensions", 1, 3_072) or DIMENSIONS.get(model, DEFAULT_DIMENSIONS)
    form = content.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise refusals.wrong_value("encoding_format", f"expected 'float' or 'base64', but got {form!r}")
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(_vector(question.digest, index, size), form)}
        for index in range(len(counts))
    ]
    usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    body = orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})
    return Answer(body, in_tok=sum(counts))


def _inputs(given: Any) -> list[Any]:
    """Return the inputs: texts, or arrays of token numbers."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list) and given and all(isinstance(item, int) for item in given):
        given = [given]
    if not isinstance(given, list) or not all(isinstance(item, str | list) for item in given):
        raise refusals.wrong_type("input", "a string, an array of strings or of tokens", given)
    if not 1 <= len(given) <= MAX_INPUTS or not all(given):
        raise refusals.wrong_value("input", f"expected 1 to {MAX_INPUTS} inputs, none of them empty")
    return given


def _count(item: str | list[int]) -> int:
    return tokens.count(item) if isinstance(item, str) else len(item)


def _vector(digest: bytes, index: int, size: int) -> array[float]:
    # Two bytes for each number are random enough for a vector that means nothing.
    draws = array("h", hashlib.shake_128(digest + index.to_bytes(2, "big")).digest(2 * size))
    if sys.byteorder == "big":
        draws.byteswap()
    length = math.hypot(*draws) or 1.0
    return array("f", [draw / length for draw in draws])


def _encoded(vector: array[float], form: str) -> str | list[float]:
    if form == "float":
        return vector.tolist()
    if sys.byteorder == "big":
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()
