"""`POST /ask {prompt, config}`: one question, one text, through the same policy as `/v1/*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import openai
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tailrace.client import AIConfig, wire
from tailrace.service import answers
from tailrace.service.answers import Answer, Refusal
from tailrace.service.forward import Forward, failed, read_headers, returned
from tailrace.service.settings import Settings


class Question(BaseModel):
    """What is posted to `/ask`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = Field(min_length=1)
    config: dict[str, Any] = {}


class Ask:
    """Asks the provider for one chat completion and returns its text."""

    def __init__(self, settings: Settings, forward: Forward) -> None:
        self._url = f"{settings.provider_url}/chat/completions"
        self._model = settings.model
        self._key = settings.api_key
        self._forward = forward

    async def __call__(self, scope: Mapping[str, Any], body: bytes) -> Answer:
        prompt, config = question(body, self._model)
        incoming = read_headers(scope["headers"], self._key)
        headers = tuple(pair for pair in incoming.headers if pair[0] not in ("content-type", "accept"))
        asked = orjson.dumps(completion(prompt, config))
        request = wire.Request("POST", self._url, (*headers, ("content-type", "application/json")), asked)
        try:
            response = await self._forward.response(request, incoming.tenant)
        except openai.APIError as error:
            return failed(error)
        return answered(response) if response.status == 200 else returned(response)


def question(body: bytes, model: str) -> tuple[str, AIConfig]:
    """Return prompt and configuration; refuse with 400 what is not JSON and with 422 what is not allowed."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refusal(answers.failure(400, "The body is not JSON.", "invalid_json")) from None
    try:
        asked = Question.model_validate(content)
    except ValidationError as error:
        raise Refusal(_invalid(error, "")) from None
    try:
        return asked.prompt, AIConfig.model_validate({"model": model, **asked.config})
    except ValidationError as error:
        raise Refusal(_invalid(error, "config.")) from None


def completion(prompt: str, config: AIConfig) -> dict[str, Any]:
    """Return the body of the chat completion."""
    limit = {} if config.max_tokens is None else {"max_tokens": config.max_tokens}
    return {"model": config.model, "temperature": config.temperature, **limit, "messages": config.messages(prompt)}


def answered(response: wire.Response) -> Answer:
    """Return the completion's text with its model, tokens and reason to end."""
    assert isinstance(response.body, bytes)
    try:
        content = orjson.loads(response.body)
        choice = content["choices"][0]
        told = {"text": choice["message"]["content"], "finish_reason": choice["finish_reason"]}
        told |= {"model": content["model"], "usage": content.get("usage")}
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return answers.failure(502, "The provider's answer is not a chat completion.", "provider_error")
    ours = returned(response)
    headers = tuple(pair for pair in ours.headers if pair[0].startswith(b"x-"))
    return answers.json_answer(200, told, *headers)._replace(outcome=ours.outcome)


def _invalid(error: ValidationError, within: str) -> Answer:
    """Return where and why; never what was found there."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = [(within + ".".join(map(str, detail["loc"])), detail["msg"]) for detail in found]
    message = "; ".join(f"{place or 'body'}: {reason}" for place, reason in told)
    return answers.failure(422, message, "invalid_request", param=told[0][0] or None)
