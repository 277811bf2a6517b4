"""A body of `/ask` becomes a chat completion, and a completion becomes a text."""

import orjson
import pytest

from tailrace.client import AIConfig, wire
from tailrace.service.ask import parse, text_response
from tailrace.service.http_response import HttpError


def test_a_question_without_a_model_uses_the_services() -> None:
    """The service's model is the default; a model in the configuration wins."""
    assert parse(b'{"prompt": "hi"}', "m1") == ("hi", AIConfig(model="m1"))
    assert parse(b'{"prompt": "hi", "config": {"model": "m2"}}', "m1") == ("hi", AIConfig(model="m2"))


def test_an_error_names_the_field_and_not_the_value() -> None:
    """The message for an invalid value says where it is and what is allowed, and does not repeat it."""
    with pytest.raises(HttpError) as caught:
        parse(b'{"prompt": "hi", "config": {"temperature": 31.4159}}', "m")
    body = caught.value.response.body
    assert isinstance(body, bytes)
    error = orjson.loads(body)["error"]
    assert error["param"] == "config.temperature"
    assert "31.4159" not in error["message"]


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}'])
def test_a_response_without_a_completion_is_a_502(body: bytes) -> None:
    """A response with status 200 that is not a completion is the provider's error, and a 502."""
    assert text_response(wire.Response(200, (), body)).status == 502
