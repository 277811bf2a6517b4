"""The keys that the service holds do not leave it, whatever a provider answers."""

import asyncio
import base64
import json

import pytest

from tailrace.service.held_keys import HeldKeys
from tailrace.service.http_response import HttpResponse
from tailrace.service.settings import Settings

KEY = "zebra/quartz-4417-plain"
HELD = HeldKeys({"OPENAI_API_KEY": KEY})
JSON = ((b"content-type", b"application/json"),)


async def pieces(*parts):
    for part in parts:
        yield part


async def whole(body):
    return b"".join([piece async for piece in body])


@pytest.mark.parametrize(
    "text",
    [f"Invalid key {KEY}", json.dumps({"message": f"no {KEY}"}), base64.b64encode(f"user:{KEY}".encode()).decode(),
     KEY.replace("/", "%2F"), KEY.replace("/", "\\/"), f"no {KEY[:12]}… here"],
)  # fmt: skip
def test_a_refusal_holds_no_form_of_the_key(text):
    """Plain, in JSON, in base64, quoted, cut: what comes out names the variable."""
    body = HELD.hidden(HttpResponse(401, JSON, text.encode())).body
    assert b"[value of OPENAI_API_KEY]" in body
    assert b"zebra" not in body


@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000])
def test_a_refusal_in_pieces_holds_no_key_across_their_borders(size):
    """Whatever the pieces are; the rest of the refusal is unchanged."""
    text = f"first {KEY} then {KEY}{KEY} and the end".encode()
    cut = [text[at : at + size] for at in range(0, len(text), size)]
    body = asyncio.run(whole(HELD.hidden(HttpResponse(429, JSON, pieces(*cut))).body))
    assert body == text.replace(KEY.encode(), b"[value of OPENAI_API_KEY]")


@pytest.mark.parametrize("status", [200, 401, 503])
def test_an_answer_without_the_key_is_passed_on_as_it_is(status):
    """The very same object, binary bodies included: nothing is copied."""
    body = b'{"a": "\xff\xfe zebra quartz"}' * 2
    response = HttpResponse(status, JSON, body)
    assert HELD.hidden(response) is response
    assert HELD.in_lines(body) is body


def test_a_good_answer_and_a_header_hold_no_key():
    """The key as it is, in the body, in a line of a stream, and in a header of any status."""
    response = HELD.hidden(HttpResponse(200, ((b"x-echo", KEY.encode()),), KEY.encode()))
    assert response.headers == ((b"x-echo", b"[value of OPENAI_API_KEY]"),)
    assert response.body == b"[value of OPENAI_API_KEY]"
    assert HELD.in_lines(f"data: {KEY}\n\n".encode()) == b"data: [value of OPENAI_API_KEY]\n\n"


@pytest.mark.parametrize(("key", "masks"), [(KEY, True), ("simulated", False), ("", False), ("abc", False)])
def test_only_what_can_be_a_key_is_one(key, masks):
    """A word that stands for a key where none is needed is in ordinary answers, too."""
    held = HeldKeys.of(Settings(provider_url="http://127.0.0.1/v1", api_key=key), {})
    body = f"it is {key} here".encode()
    assert (held.hidden(HttpResponse(401, JSON, body)).body != body) is masks


def test_the_keys_of_other_destinations_are_held_as_well():
    """Those that the policy names, by their variables."""
    environment = {
        "TAILRACE_PROVIDER_URL": "http://127.0.0.1/v1", "SECOND": "walrus-onyx-9921",
        "TAILRACE_POLICY": json.dumps({"fallbacks": [{"model": "m", "api_key_env": "SECOND"}]}),
    }  # fmt: skip
    held = HeldKeys.of(Settings.read(environment), environment)
    assert held.hidden(HttpResponse(401, JSON, b"no walrus-onyx-9921")).body == b"no [value of SECOND]"
