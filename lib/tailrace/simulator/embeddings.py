"""/v1/embeddings: unit vectors drawn from the digest of the request."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array
from typing import Any

import orjson

from tailrace.simulator import api_errors, parameters, tokens
from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.api_response import ApiResponse

DIMENSIONS = {"text-embedding-3-large": 3_072}
DEFAULT_DIMENSIONS = 1_536
MAX_INPUTS = 2_048
CONTEXT_TOKENS = 8_192


def respond(request: ParsedRequest) -> ApiResponse:
    """Return one vector per input, or raise ApiError for an invalid request."""
    content = request.content
    model = parameters.model(content)
    counts = [_count(item) for item in _inputs(parameters.required(content, "input"))]
    if max(counts) > CONTEXT_TOKENS:
        raise api_errors.too_long(CONTEXT_TOKENS, max(counts), "input")
    size = parameters.integer(content, "dimensions", 1, 3_072) or DIMENSIONS.get(model, DEFAULT_DIMENSIONS)
    form = content.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise api_errors.wrong_value("encoding_format", f"expected 'float' or 'base64', but got {form!r}")
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(_vector(request.digest, index, size), form)}
        for index in range(len(counts))
    ]
    usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    body = orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})
    return ApiResponse(body, in_tok=sum(counts))


def _inputs(value: Any) -> list[Any]:
    """Return the inputs: texts, or arrays of token numbers."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str | list) for item in value):
        raise api_errors.wrong_type("input", "a string, an array of strings or of tokens", value)
    if not 1 <= len(value) <= MAX_INPUTS or not all(value):
        raise api_errors.wrong_value("input", f"expected 1 to {MAX_INPUTS} inputs, none of them empty")
    return value


def _count(item: str | list[int]) -> int:
    return tokens.count(item) if isinstance(item, str) else len(item)


def _vector(digest: bytes, index: int, size: int) -> array[float]:
    # Two bytes per number are random enough for a vector without meaning.
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
