"""/v1/models: the names that are listed; any other is answered, too."""

from __future__ import annotations

import orjson

from tailrace.simulator import refusals
from tailrace.simulator.answers import Answer
from tailrace.simulator.parameters import CONTEXTS


def listed() -> Answer:
    return Answer(orjson.dumps({"object": "list", "data": [_model(name) for name in CONTEXTS]}))


def one(name: str) -> Answer:
    if name not in CONTEXTS:
        raise refusals.no_model(name)
    return Answer(orjson.dumps(_model(name)))


def _model(name: str) -> dict[str, str | int]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "tailrace-simulator"}
