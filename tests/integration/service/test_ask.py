"""`POST /ask`."""

from typing import Any

import pytest
from tests.integration.service.conftest import Service, Simulator


def test_a_prompt_is_answered_with_a_text(service: Service) -> None:
    """A prompt with a configuration comes back as text with model, reason and tokens, and is cached like any other."""
    question = {"prompt": "hello", "config": {"temperature": 0, "max_tokens": 20, "system_prompt": "be brief"}}
    first, second = (service.http.post("/ask", json=question) for _ in range(2))
    assert first.status_code == 200
    content = first.json()
    assert set(content) == {"text", "finish_reason", "model", "usage"}
    assert content["text"]
    assert content["usage"]["completion_tokens"] <= 20
    assert [response.headers["x-tailrace-cache"] for response in (first, second)] == ["miss", "hit"]
    assert second.json() == content


def test_the_configuration_reaches_the_provider(service: Service) -> None:
    """Model and system prompt change the response; the default model is the service's."""
    plain = service.http.post("/ask", json={"prompt": "hello"}).json()
    other = service.http.post("/ask", json={"prompt": "hello", "config": {"model": "gpt-4o"}}).json()
    assert plain["model"].startswith("gpt-4o-mini")
    assert other["model"].startswith("gpt-4o")
    assert plain["text"] != other["text"]


@pytest.mark.parametrize(
    ("question", "param"),
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
def test_an_invalid_question_is_a_422(service: Service, provider: Simulator, question: Any, param: str | None) -> None:
    """The error names the field, and the provider gets no request."""
    response = service.http.post("/ask", json=question)
    assert response.status_code == 422
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert provider.calls() == 0


def test_a_body_that_is_not_json_is_a_400(service: Service) -> None:
    """The error code is invalid_json."""
    response = service.http.post("/ask", content=b"prompt=hello")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_json")


def test_control_characters_are_a_400(service: Service, provider: Simulator) -> None:
    """The input guard's rejection is a 400, and the provider gets no request."""
    response = service.http.post("/ask", json={"prompt": "a\x00b"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "input_rejected"
    assert provider.calls() == 0


def test_a_providers_error_is_passed_back(service: Service, provider: Simulator) -> None:
    """A provider's 429 for a used-up quota is the caller's 429."""
    provider.break_with({"kind": "quota"})
    response = service.http.post("/ask", json={"prompt": "hello"})
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "insufficient_quota"
    assert service.rows("request")[-1]["error_type"] == "insufficient_quota"
