"""Made-up JSON that fits a JSON schema: enough for structured output and for tool calls to be parsed."""

from __future__ import annotations

from typing import Any

import orjson

from tailrace.simulator.answers import Question, write

DEPTH = 12
"""Nesting at which a schema that refers to itself is given up."""


def document(question: Question, index: int, schema: dict[str, Any] | None) -> str:
    """Return a JSON text that fits `schema`; without one, an object with the text under "answer"."""
    words = write(question, index, None).text
    if schema is None:
        return orjson.dumps({"answer": words}).decode()
    return orjson.dumps(_instance(schema, schema, words, 0)).decode()


def _instance(schema: Any, root: dict[str, Any], words: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > DEPTH:
        return None
    if "$ref" in schema:
        return _instance(_resolve(str(schema["$ref"]), root), root, words, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _instance(schema[key][0], root, words, depth + 1)
    return _typed(schema, root, words, depth)


def _typed(schema: dict[str, Any], root: dict[str, Any], words: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties") or {}
            return {name: _instance(below, root, words, depth + 1) for name, below in properties.items()}
        case "array":
            size = min(max(1, int(schema.get("minItems", 1))), 100)
            return [_instance(schema.get("items", {}), root, words, depth + 1)] * size
        case "string":
            return words
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    return None


def _resolve(reference: str, root: dict[str, Any]) -> Any:
    """Return what a reference within the document ("#/$defs/Name") points to, or None."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            found = found.get(part) if isinstance(found, dict) else None
    return found
