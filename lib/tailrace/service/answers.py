"""What the service itself answers: JSON, and errors in the shape that OpenAI clients parse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import orjson

Headers = tuple[tuple[bytes, bytes], ...]


class Answer(NamedTuple):
    """One answer on its way out; `body` as a whole, or chunk by chunk."""

    status: int
    headers: Headers
    body: bytes | AsyncIterator[bytes]
    outcome: str = ""
    """For the histogram, when it is not told by the headers."""


class Refusal(Exception):
    """A request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(status: int, content: Any, *headers: tuple[bytes, bytes]) -> Answer:
    """Return `content` as JSON."""
    return Answer(status, ((b"content-type", b"application/json"), *headers), orjson.dumps(content))


def failure(status: int, message: str, code: str, *headers: tuple[bytes, bytes], param: str | None = None) -> Answer:
    """Return an error as `{"error": {message, type, param, code}}`; `message` holds nothing that a caller sent."""
    error = {"message": message, "type": _kind(status), "param": param, "code": code}
    return json_answer(status, {"error": error}, *headers)._replace(outcome="error")


def retry_after(seconds: float) -> tuple[bytes, bytes]:
    """Return the header, in whole seconds, at least one."""
    return (b"retry-after", b"%d" % max(1, round(seconds)))


def not_found() -> Answer:
    return failure(404, "There is no such path; known: /v1/*, /ask, /healthz, /readyz, /metrics.", "not_found")


def not_allowed(*methods: str) -> Answer:
    allowed = ", ".join(methods)
    return failure(405, f"Method not allowed; allowed: {allowed}.", "method_not_allowed", (b"allow", allowed.encode()))


def too_large(limit_bytes: int) -> Answer:
    return failure(413, f"The request's body is larger than {limit_bytes} bytes.", "request_too_large")


def internal() -> Answer:
    return failure(500, "The service failed; its log holds more under the request's id.", "internal_error")


def _kind(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
