"""Refusals in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import math

import orjson

from tailrace.simulator.answers import Answer, Headers

INVALID = "invalid_request_error"


class Refusal(Exception):
    """A request that gets an error for an answer."""

    def __init__(self, status: int, message: str, kind: str = INVALID, param: str | None = None,
                 code: str | None = None, headers: Headers = ()) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.kind, self.param, self.code, self.headers = status, kind, param, code, headers

    @property
    def answer(self) -> Answer:
        error = {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}
        return Answer(orjson.dumps({"error": error}), status=self.status, headers=self.headers)


def missing(param: str) -> Refusal:
    return Refusal(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, found: object) -> Refusal:
    message = f"Invalid type for '{param}': expected {expected}, but got {type(found).__name__} instead."
    return Refusal(400, message, param=param, code="invalid_type")


def wrong_value(param: str, fact: str) -> Refusal:
    return Refusal(400, f"Invalid value for '{param}': {fact}.", param=param, code="invalid_value")


def not_json() -> Refusal:
    return Refusal(400, "We could not parse the JSON body of your request: expected a JSON object.")


def too_long(limit: int, found: int, param: str) -> Refusal:
    message = (
        f"This model's maximum context length is {limit} tokens. However, your {param} resulted in {found} tokens. "
        f"Please reduce the length of the {param}."
    )
    return Refusal(400, message, param=param, code="context_length_exceeded")


def no_key(fact: str) -> Refusal:
    return Refusal(401, f"{fact} Send it as 'Authorization: Bearer KEY'.", code="invalid_api_key")


def no_path(method: str, path: str) -> Refusal:
    return Refusal(404, f"Invalid URL ({method} {path})")


def no_resource() -> Refusal:
    return Refusal(404, "Resource not found: a deployment is asked with ?api-version=….", code="404")


def no_method(method: str, path: str, allowed: str) -> Refusal:
    message = f"Not allowed to {method} on {path} (HINT: Perhaps you meant to use {allowed}?)"
    return Refusal(405, message, headers=(("allow", allowed),))


def no_model(name: str) -> Refusal:
    message = f"The model '{name}' does not exist or you do not have access to it."
    return Refusal(404, message, param="model", code="model_not_found")


def rate_limit(retry_after_s: float) -> Refusal:
    message = f"Rate limit reached for requests. Please try again in {retry_after_s:g}s."
    headers = (*retry_after(retry_after_s), ("x-ratelimit-remaining-requests", "0"))
    return Refusal(429, message, "requests", code="rate_limit_exceeded", headers=headers)


def quota() -> Refusal:
    message = "You exceeded your current quota, please check your plan and billing details."
    return Refusal(429, message, "insufficient_quota", code="insufficient_quota")


def failing(status: int, message: str, retry_after_s: float | None) -> Refusal:
    return Refusal(status, message, "server_error", headers=() if retry_after_s is None else retry_after(retry_after_s))


def retry_after(seconds: float) -> Headers:
    """Return both headers that OpenAI sends: whole seconds, rounded up, and milliseconds."""
    return (("retry-after", str(math.ceil(seconds))), ("retry-after-ms", str(round(seconds * 1000))))
