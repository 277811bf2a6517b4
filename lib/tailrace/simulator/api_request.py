"""A request to the simulated API, and the digest that decides its response."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from tailrace.simulator.dialect import PLAIN, Dialect

SIGNIFICANT = ("authorization", "openai-organization", "openai-project")
"""Headers that identify the caller, and so change the response."""
_AZURE = re.compile(r"/openai/(?:v1/|deployments/(?P<deployment>[^/]+)/)?")
"""Azure serves the same paths under a prefix: that of a deployment, or of the resource."""


def split_target(target: str) -> tuple[str, str, str]:
    """Return path, query and Azure deployment ("" for none) of the target in a request line."""
    path, _, query = target.partition("?")
    azure = _AZURE.match(path)
    return (path, query, "") if azure is None else (f"/v1/{path[azure.end() :]}", query, azure["deployment"] or "")


def _digest(value: str) -> bytes:
    return hashlib.blake2b(value.encode(), digest_size=16).digest()


_NO_VALUE = _digest("")


@dataclass(frozen=True)
class ApiRequest:
    """One complete HTTP request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    arrival_ns: int
    """`perf_counter_ns` when its first bytes were read."""
    version: str = "1.1"
    keep_alive: bool = True
    deployment: str = ""

    @cached_property
    def content(self) -> dict[str, Any] | None:
        """The JSON object in the body; None if the body is not one."""
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return content if isinstance(content, dict) else None

    @property
    def stream(self) -> bool:
        return bool(self.content and self.content.get("stream"))

    @property
    def model(self) -> str:
        return str((self.content or {}).get("model") or "")

    def digest(self, seed: int) -> bytes:
        """Return 32 bytes that change with everything that decides the response.

        The order of JSON keys does not matter; `0` and `0.0` are two values.
        """
        digest = hashlib.blake2b(f"{seed}\n{self.method}\n{self.path}?{self.query}".encode(), digest_size=32)
        if self.deployment or "api-key" in self.headers:
            digest.update(f"\n{self.deployment}\n{self.headers.get('api-key', '')}".encode())
        for name in SIGNIFICANT:
            value = self.headers.get(name)
            digest.update(b"\n" + (_digest(value) if value else _NO_VALUE))
        digest.update(orjson.dumps(self.content, option=orjson.OPT_SORT_KEYS))
        return digest.digest()


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request as an endpoint gets it."""

    content: dict[str, Any]
    """The JSON body."""
    digest: bytes
    """Of the whole request: method, path, credential, every parameter, and the simulator's seed."""
    median_tokens: int
    """Median length of an answer without its reasoning, in tokens; 0: an empty answer."""
    dialect: Dialect = PLAIN
