"""`POST /ask {prompt, config}`: one prompt in, one text out, through the same policy as `/v1/*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tailrace.client import AIConfig, wire
from tailrace.protocol.reading import loads
from tailrace.service.http_response import HttpError, HttpResponse, error_response, json_response
from tailrace.service.settings import Settings
from tailrace.service.upstream import Upstream, caller_response, failure_response


class Question(BaseModel):
    """The JSON body of a request to `/ask`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field(min_length=1)
    config: dict[str, Any] = {}


class Ask:
    """Requests one chat completion from the provider and returns its text."""

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        self._url = f"{settings.provider_url}/chat/completions"
        self._model = settings.model
        self._upstream = upstream

    async def __call__(self, scope: Mapping[str, Any], body: bytes) -> HttpResponse:
        prompt, config = parse(body, self._model)
        sent = self._upstream.headers(scope)
        headers = tuple(pair for pair in sent.headers if pair[0] not in ("content-type", "accept"))
        headers = (*headers, ("content-type", "application/json"))
        try:
            response = await self._upstream.send(self._request(prompt, config, headers), sent.tenant)
            other = config.after(_error(response))
            if other is not None:
                response = await self._upstream.send(self._request(prompt, other, headers), sent.tenant)
        except openai.APIError as error:
            return failure_response(error)
        return text_response(response) if response.status == 200 else caller_response(response)

    def _request(self, prompt: str, config: AIConfig, headers: wire.Headers) -> wire.Request:
        return wire.Request("POST", self._url, headers, orjson.dumps(config.request(prompt)))


def _error(response: wire.Response) -> object:
    """Return the error object of a refused request; None for any other answer."""
    if response.status != 400 or not isinstance(response.body, bytes):
        return None
    try:
        document = loads(response.body)
    except ValueError:
        return None
    return document.get("error") if isinstance(document, dict) else None


def parse(body: bytes, model: str) -> tuple[str, AIConfig]:
    """Return prompt and configuration; raise HttpError 400 if the body is not JSON, 422 if its content is invalid."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise HttpError(error_response(400, "The body is not JSON.", "invalid_json")) from None
    try:
        question = Question.model_validate(content)
    except ValidationError as error:
        raise HttpError(_invalid(error, "")) from None
    try:
        return question.prompt, AIConfig.model_validate({"model": model, **question.config})
    except ValidationError as error:
        raise HttpError(_invalid(error, "config.")) from None


def text_response(response: wire.Response) -> HttpResponse:
    """Return the text of a completion with its model, usage and finish reason."""
    assert isinstance(response.body, bytes)
    try:
        completion = orjson.loads(response.body)
        choice = completion["choices"][0]
        answer = {"text": choice["message"]["content"], "finish_reason": choice["finish_reason"]}
        answer |= {"model": completion["model"], "usage": completion.get("usage")}
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return error_response(502, "The provider's response is not a chat completion.", "provider_error")
    passed = caller_response(response)
    headers = tuple(pair for pair in passed.headers if pair[0].startswith(b"x-"))
    return json_response(200, answer, *headers)._replace(outcome=passed.outcome)


def _invalid(error: ValidationError, prefix: str) -> HttpResponse:
    """Return the fields that are invalid and why; never their values."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    problems = [(prefix + ".".join(map(str, detail["loc"])), detail["msg"]) for detail in details]
    message = "; ".join(f"{field or 'body'}: {reason}" for field, reason in problems)
    return error_response(422, message, "invalid_request", param=problems[0][0] or None)
