"""/v1/models: the models that are listed; requests may use any other name, too."""

from __future__ import annotations

import orjson

from tailrace.simulator import api_errors
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.parameters import CONTEXTS


def listed() -> ApiResponse:
    return ApiResponse(orjson.dumps({"object": "list", "data": [_model(name) for name in CONTEXTS]}))


def one(name: str) -> ApiResponse:
    if name not in CONTEXTS:
        raise api_errors.no_model(name)
    return ApiResponse(orjson.dumps(_model(name)))


def _model(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "tailrace-simulator"}
