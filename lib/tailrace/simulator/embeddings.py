"""/v1/embeddings: unit vectors drawn from the digest of the request."""

from __future__ import annotations

import base64
import hashlib
import math
import sys
from array import array

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
    counts = [tokens.count_prompt(item) for item in parameters.prompts(content, "input", MAX_INPUTS)]
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
