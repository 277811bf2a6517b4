"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import math

import orjson

from tailrace.simulator.api_response import ApiResponse, Headers

INVALID = "invalid_request_error"


class ApiError(Exception):
    """Ends a request with an error response."""

    def __init__(self, status: int, message: str, kind: str = INVALID, param: str | None = None,
                 code: str | None = None, headers: Headers = ()) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.kind, self.param, self.code, self.headers = status, kind, param, code, headers

    @property
    def fields(self) -> dict[str, str | None]:
        """The error object."""
        return {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}

    @property
    def response(self) -> ApiResponse:
        return ApiResponse(orjson.dumps({"error": self.fields}), status=self.status, headers=self.headers)


def missing(param: str) -> ApiError:
    return ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, found: object) -> ApiError:
    message = f"Invalid type for '{param}': expected {expected}, but got {type(found).__name__} instead."
    return ApiError(400, message, param=param, code="invalid_type")


def wrong_value(param: str, fact: str) -> ApiError:
    return ApiError(400, f"Invalid value for '{param}': {fact}.", param=param, code="invalid_value")


def only_default(param: str, found: object) -> ApiError:
    message = (
        f"Unsupported value: '{param}' does not support {found} with this model. Only the default (1) value is "
        "supported."
    )
    return ApiError(400, message, param=param, code="unsupported_value")


def unsupported(param: str, instead: str) -> ApiError:
    message = f"Unsupported parameter: '{param}' is not supported with this model. Use '{instead}' instead."
    return ApiError(400, message, param=param, code="unsupported_parameter")


def not_json() -> ApiError:
    return ApiError(400, "We could not parse the JSON body of your request: expected a JSON object.")


def too_long(limit: int, found: int, param: str) -> ApiError:
    message = (
        f"This model's maximum context length is {limit} tokens. However, your {param} resulted in {found} tokens. "
        f"Please reduce the length of the {param}."
    )
    return ApiError(400, message, param=param, code="context_length_exceeded")


def no_key(fact: str) -> ApiError:
    return ApiError(401, f"{fact} Send it as 'Authorization: Bearer KEY'.", code="invalid_api_key")


def no_path(method: str, path: str) -> ApiError:
    return ApiError(404, f"Invalid URL ({method} {path})")


def no_resource() -> ApiError:
    return ApiError(404, "Resource not found: a request to a deployment needs ?api-version=….", code="404")


def no_method(method: str, path: str, allowed: str) -> ApiError:
    message = f"Not allowed to {method} on {path} (HINT: Perhaps you meant to use {allowed}?)"
    return ApiError(405, message, headers=(("allow", allowed),))


def no_model(name: str) -> ApiError:
    message = f"The model '{name}' does not exist or you do not have access to it."
    return ApiError(404, message, param="model", code="model_not_found")


def rate_limit(retry_after_s: float) -> ApiError:
    message = f"Rate limit reached for requests. Please try again in {retry_after_s:g}s."
    headers = (*retry_after(retry_after_s), ("x-ratelimit-remaining-requests", "0"))
    return ApiError(429, message, "requests", code="rate_limit_exceeded", headers=headers)


def quota() -> ApiError:
    message = "You exceeded your current quota, please check your plan and billing details."
    return ApiError(429, message, "insufficient_quota", code="insufficient_quota")


def failing(status: int, message: str, retry_after_s: float | None) -> ApiError:
    return ApiError(
        status, message, "server_error", headers=() if retry_after_s is None else retry_after(retry_after_s)
    )


def retry_after(seconds: float) -> Headers:
    """Return both headers that OpenAI sends: whole seconds, rounded up, and milliseconds."""
    return (("retry-after", str(math.ceil(seconds))), ("retry-after-ms", str(round(seconds * 1000))))
