"""The request's id, route and error code, as they are logged."""

import pytest

from tailrace.service.request_context import plain_word, request_id, route_of


@pytest.mark.parametrize("text", [b"abc-123", b"req_0a1b", b"550e8400-e29b-41d4-a716-446655440000"])
def test_a_plain_request_id_is_kept(text: bytes) -> None:
    """The caller's identifier is used if it is a plain one."""
    assert request_id([(b"x-request-id", text)]) == text.decode()


@pytest.mark.parametrize("text", [b"", b"a b", b"x" * 200, b"sk-" + b"a" * 30, b'"}{', "é".encode()])
def test_any_other_request_id_is_replaced(text: bytes) -> None:
    """An id that could break a log line or looks like a credential is replaced, by a new one each time."""
    made = [request_id([(b"x-request-id", text)]) for _ in range(2)]
    assert all(one.startswith("req_") and len(one) == 28 for one in made)
    assert made[0] != made[1]


def test_a_route_is_never_the_callers_text() -> None:
    """Unknown paths share one route."""
    assert route_of("/v1/chat/completions") == "/v1/chat/completions"
    assert route_of("/v1/files/secret") == "/v1/*"


def test_a_providers_error_code_is_logged_only_if_it_is_a_plain_word() -> None:
    """A code goes into the log if it is a plain word; a sentence or a key does not."""
    assert plain_word("insufficient_quota") == "insufficient_quota"
    assert plain_word("You said: hello") == plain_word("sk-" + "a" * 30) == plain_word("") == ""
