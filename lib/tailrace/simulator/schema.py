"""Invented JSON that fits a JSON schema, so that structured output and tool calls can be parsed."""

from __future__ import annotations

from typing import Any

import orjson

from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.text import generate

SHALLOW = 4
"""Depth below which lists are empty and optional values null, so that a recursive schema ends."""
DEEP = 24
NODES = 2_000
"""Limit for the values in one document; all further ones are null."""


def document(request: ParsedRequest, index: int, schema: dict[str, Any] | None) -> str:
    """Return a JSON text that fits `schema`; without one, an object with the text under "answer"."""
    words = generate(request, index).text
    if schema is None:
        return orjson.dumps({"answer": words}).decode()
    return orjson.dumps(_Maker(schema, words).make(schema, 0)).decode()


class _Maker:
    """Makes one document for a schema."""

    def __init__(self, root: dict[str, Any], words: str) -> None:
        self._root, self._words, self._left = root, words, NODES

    def make(self, schema: Any, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > DEEP or self._left < 0:
            return None
        if "$ref" in schema:
            return self.make(self._resolve(str(schema["$ref"])), depth + 1)
        if "const" in schema:
            return schema["const"]
        if _filled(schema, "enum"):
            return schema["enum"][0]
        for key in ("anyOf", "oneOf", "allOf"):
            if _filled(schema, key):
                options = schema[key]
                if depth > SHALLOW and {"type": "null"} in options:
                    return None
                return self.make(options[0], depth + 1)
        return self._typed(schema, depth)

    def _typed(self, schema: dict[str, Any], depth: int) -> Any:
        kind = schema["type"][0] if _filled(schema, "type") else schema.get("type")
        match kind or ("object" if "properties" in schema else "string"):
            case "object":
                properties = schema.get("properties")
                below = properties if isinstance(properties, dict) else {}
                return {name: self.make(inner, depth + 1) for name, inner in below.items()}
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._words
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
        return None

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        least = schema.get("minItems")
        size = least if isinstance(least, int) else 0
        if depth <= SHALLOW:
            size = max(1, size)
        return [self.make(schema.get("items", {}), depth + 1) for _ in range(min(size, max(0, self._left)))]

    def _resolve(self, reference: str) -> Any:
        """Return what a reference within the document ("#/$defs/Name") points to, or None."""
        node: Any = self._root
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                node = node.get(part) if isinstance(node, dict) else None
        return node


def _filled(schema: dict[str, Any], key: str) -> bool:
    return isinstance(schema.get(key), list) and bool(schema[key])
