"""From the body of `/ask` to a chat completion and back."""

import orjson
import pytest

from tailrace.client import AIConfig, wire
from tailrace.service.answers import Refusal
from tailrace.service.ask import answered, completion, question


def test_a_question_without_configuration_asks_the_services_model() -> None:
    """The service's model is asked where the question names none."""
    assert question(b'{"prompt": "hi"}', "m1") == ("hi", AIConfig(model="m1"))
    assert question(b'{"prompt": "hi", "config": {"model": "m2"}}', "m1") == ("hi", AIConfig(model="m2"))


def test_a_completion_says_only_what_was_said() -> None:
    """A limit that is not given is not sent; a system prompt goes first."""
    assert completion("hi", AIConfig(model="m", temperature=0.5, system_prompt="brief", max_tokens=7)) == {
        "model": "m",
        "temperature": 0.5,
        "max_tokens": 7,
        "messages": [{"role": "system", "content": "brief"}, {"role": "user", "content": "hi"}],
    }
    assert "max_tokens" not in completion("hi", AIConfig())


def test_a_refusal_names_the_place_and_not_the_value() -> None:
    """What is told of a wrong value is where it stands and what is allowed there."""
    with pytest.raises(Refusal) as caught:
        question(b'{"prompt": "hi", "config": {"temperature": 31.4159}}', "m")
    body = caught.value.answer.body
    assert isinstance(body, bytes)
    error = orjson.loads(body)["error"]
    assert error["param"] == "config.temperature"
    assert "31.4159" not in error["message"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}'])
def test_what_is_no_completion_is_a_502(body: bytes) -> None:
    """An answer with status 200 that is no completion is the provider's fault, and told so."""
    assert answered(wire.Response(200, (), body)).status == 502
