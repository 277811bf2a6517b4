"""`POST /ask`."""

from typing import Any

import pytest
from tests.integration.service.conftest import Provider, Service


def test_a_question_gets_its_text(service: Service) -> None:
    """A prompt with a configuration comes back as text with model, reason and tokens, and is cached like any other."""
    asked = {"prompt": "hello", "config": {"temperature": 0, "max_tokens": 20, "system_prompt": "be brief"}}
    first, second = (service.http.post("/ask", json=asked) for _ in range(2))
    assert first.status_code == 200
    told = first.json()
    assert set(told) == {"text", "finish_reason", "model", "usage"}
    assert told["text"]
    assert told["usage"]["completion_tokens"] <= 20
    assert [answer.headers["x-tailrace-cache"] for answer in (first, second)] == ["miss", "hit"]
    assert second.json() == told


def test_the_configuration_reaches_the_provider(service: Service) -> None:
    """Model and system prompt change the answer; the default model is the service's."""
    plain = service.http.post("/ask", json={"prompt": "hello"}).json()
    other = service.http.post("/ask", json={"prompt": "hello", "config": {"model": "gpt-4o"}}).json()
    assert plain["model"].startswith("gpt-4o-mini")
    assert other["model"].startswith("gpt-4o")
    assert plain["text"] != other["text"]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": "x", "more": 1}, "more"),
        ({"prompt": "x", "config": {"temperature": 2.1}}, "config.temperature"),
        ({"prompt": "x", "config": {"max_tokens": 0}}, "config.max_tokens"),
        ({"prompt": "x", "config": {"nonsense": 1}}, "config.nonsense"),
        ([], None),
    ],
)
def test_what_is_not_allowed_is_a_422(service: Service, provider: Provider, asked: Any, param: str | None) -> None:
    """A question that is not allowed names the place, and never reaches the provider."""
    answer = service.http.post("/ask", json=asked)
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert provider.calls() == 0


def test_what_is_not_json_is_a_400(service: Service) -> None:
    """A body that is not JSON is told so."""
    answer = service.http.post("/ask", content=b"prompt=hello")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def test_control_characters_are_a_400(service: Service, provider: Provider) -> None:
    """The input guard's refusal is a 400 that names the place."""
    answer = service.http.post("/ask", json={"prompt": "a\x00b"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "input_rejected"
    assert provider.calls() == 0


def test_a_providers_error_comes_through(service: Service, provider: Provider) -> None:
    """A provider's 429 for a used-up quota is the caller's 429."""
    provider.break_with({"kind": "quota"})
    answer = service.http.post("/ask", json={"prompt": "hello"})
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "insufficient_quota"
    assert service.rows("request")[-1]["error_type"] == "insufficient_quota"
