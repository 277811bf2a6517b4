"""The provider's headers cost no answer, and never speak for us."""

import pytest

from tailrace.client import wire
from tailrace.service.response_headers import MOST, MOST_BYTES, passed
from tailrace.service.upstream import caller_response

JSON = ("content-type", "application/json")


@pytest.mark.parametrize("value", ["a\x1b[1m", "a\x00b", "a\rb", "a\nset-cookie: x=y", "\x7f", "\x08"])
def test_a_value_with_a_control_character_is_left_out(value: str) -> None:
    """Only that header is left out; a tab, and bytes beyond ASCII, are passed on."""
    headers = (JSON, ("x-note", value), ("x-tab", "a\tb"), ("x-accent", "caf\xe9"), ("x-arrow", "\xe2\x86\x92"))
    assert dict(passed(headers).headers) == {
        b"content-type": b"application/json", b"x-tab": b"a\tb", b"x-accent": b"caf\xe9", b"x-arrow": b"\xe2\x86\x92",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["x note", "x\x1b", "x:y", "", "x(y)", "caf\xe9", "→"])
def test_what_is_no_name_is_left_out(name: str) -> None:
    """A name that is no token of RFC 9110 is not sent."""
    assert passed((JSON, (name, "a"))).headers == ((b"content-type", b"application/json"),)


def test_a_value_of_a_store_may_be_any_text() -> None:
    """What Latin-1 does not have is sent as UTF-8; a lone surrogate costs no answer, either."""
    headers = passed((("x-arrow", "→"), ("x-byte", "\udce9"))).headers
    assert headers == ((b"x-arrow", "→".encode()), (b"x-byte", b"\xe9"))


@pytest.mark.parametrize(
    "name", ["X-Envoy-Immediate-Health-Check-Fail", "x-accel-redirect", "x-colour", "x-release", "x-generation",
             "connection", "content-length", "transfer-encoding", "set-cookie", "trailer"])  # fmt: skip
def test_an_order_to_the_edge_and_what_names_us_are_left_out(name: str) -> None:
    """A provider takes no instance out, and names none."""
    assert passed((JSON, (name, "1"))).headers == ((b"content-type", b"application/json"),)


def test_what_the_client_says_of_a_call_takes_the_place_of_what_the_provider_says() -> None:
    """The provider's own `x-tailrace-*` are dropped, also those that the client did not stamp."""
    theirs = (("x-tailrace-cache", "hit"), ("x-tailrace-cost-microusd", "9" * 20), ("x-tailrace-other", "a"))
    headers, cache = passed(wire.stamped((JSON, *theirs), "miss", 2, 0.0, None))
    assert cache == "miss"
    assert [pair for pair in headers if pair[0].startswith(b"x-tailrace-")] == [
        (b"x-tailrace-cache", b"miss"), (b"x-tailrace-attempts", b"2"), (b"x-tailrace-backoff-us", b"0"),
    ]  # fmt: skip
    assert caller_response(wire.Response(200, wire.stamped((JSON, *theirs), "miss", 1, 0, 0), b"{}")).outcome == "miss"


def test_headers_are_bounded() -> None:
    """The edge would refuse the answer for too many headers, or too large ones; the first ones and ours are passed."""
    many = tuple((f"x-{n}", "a") for n in range(500))
    kept = passed(wire.stamped((JSON, *many), "miss", 1, 0, 0)).headers
    assert (len(kept), kept[0]) == (MOST + 4, (b"content-type", b"application/json"))
    large = passed((("x-large", "a" * MOST_BYTES), JSON, ("x-more", "b" * MOST_BYTES))).headers
    assert large == ((b"x-large", b"a" * MOST_BYTES),)
    assert passed((("x-larger", "a" * (MOST_BYTES + 1)), JSON)).headers == ((b"content-type", b"application/json"),)


@pytest.mark.parametrize(("status", "expected"), [(200, 200), (599, 599), (600, 502), (999, 502)])
def test_a_status_that_is_none_is_a_502(status: int, expected: int) -> None:
    """HTTP defines no status of 600 and above, and no server can send it; the body is passed on all the same."""
    response = caller_response(wire.Response(status, (JSON,), b'{"id": "x"}'))
    assert (response.status, response.body) == (expected, b'{"id": "x"}')
