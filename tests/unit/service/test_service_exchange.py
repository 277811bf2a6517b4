"""What is known of a request."""

import pytest

from tailrace.service.exchange import request_id, route_of, word


@pytest.mark.parametrize("text", [b"abc-123", b"req_0a1b", b"550e8400-e29b-41d4-a716-446655440000"])
def test_a_plain_request_id_is_taken_over(text: bytes) -> None:
    """An identifier that the caller brings is kept."""
    assert request_id([(b"x-request-id", text)]) == text.decode()


@pytest.mark.parametrize("text", [b"", b"a b", b"x" * 200, b"sk-" + b"a" * 30, b'"}{', "é".encode()])
def test_another_request_id_is_not(text: bytes) -> None:
    """What could break a log line or looks like a credential is replaced, by another one each time."""
    made = [request_id([(b"x-request-id", text)]) for _ in range(2)]
    assert all(one.startswith("req_") and len(one) == 28 for one in made)
    assert made[0] != made[1]


def test_a_route_is_never_the_callers_text() -> None:
    """Paths that are not known share one route."""
    assert route_of("/v1/chat/completions") == "/v1/chat/completions"
    assert route_of("/v1/files/secret") == "/v1/*"


def test_a_providers_code_is_a_word_or_nothing() -> None:
    """An error's code goes into the log when it is a plain word; a sentence or a key does not."""
    assert word("insufficient_quota") == "insufficient_quota"
    assert word("You said: hello") == word("sk-" + "a" * 30) == word("") == ""
