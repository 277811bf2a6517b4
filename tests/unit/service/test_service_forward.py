"""What of a request goes on, and what of an answer comes back."""

import openai
import orjson
import pytest

from tailrace.client import errors, wire
from tailrace.service.answers import Answer, Refusal
from tailrace.service.forward import failed, read_headers, returned, target

REQUEST = wire.Request("POST", "http://127.0.0.1:9/v1/chat/completions", (), b"")


def error_of(answer: Answer) -> dict[str, object]:
    assert isinstance(answer.body, bytes)
    found: dict[str, object] = orjson.loads(answer.body)["error"]
    return found


def test_with_a_key_of_its_own_the_callers_stays_here() -> None:
    """The service's key replaces the caller's, which only tells callers apart."""
    mine = read_headers([(b"authorization", b"Bearer mine"), (b"accept", b"*/*")], "service")
    yours = read_headers([(b"authorization", b"Bearer yours"), (b"accept", b"*/*")], "service")
    assert mine.headers == yours.headers == (("accept", "*/*"), ("authorization", "Bearer service"))
    assert mine.tenant != yours.tenant
    assert "mine" not in mine.tenant
    assert read_headers([], "service").tenant == ""


def test_without_a_key_of_its_own_the_callers_goes_on() -> None:
    """A service without a key passes the caller's on."""
    assert read_headers([(b"authorization", b"Bearer mine")], "").headers == (("authorization", "Bearer mine"),)


def test_what_is_about_the_way_stays_behind() -> None:
    """Hop-by-hop headers, those that `Connection` names, cookies and proxies' notes are not sent."""
    way = [(b"host", b"x"), (b"connection", b"close, x-odd"), (b"x-odd", b"1"), (b"cookie", b"a=b"), (b"te", b"x"),
           (b"x-forwarded-for", b"10.0.0.1"), (b"x-envoy-attempt-count", b"1"), (b"content-length", b"2"),
           (b"accept-encoding", b"gzip"), (b"x-request-id", b"r")]  # fmt: skip
    assert read_headers([*way, (b"openai-project", b"p")], "").headers == (("openai-project", "p"),)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [(b"/v1/models", b"", "/models"), (b"/v1/a%20b", b"x=1&y", "/a%20b?x=1&y"), (b"/v1/a..b", b"", "/a..b")],
)
def test_a_path_goes_on_as_it_came(path: bytes, query: bytes, expected: str) -> None:
    """Path and query are appended to the provider's base, escapes untouched."""
    assert target(path, query) == expected


@pytest.mark.parametrize(
    "path", [b"/v1/../admin", b"/v1/%2e%2e/admin", b"/v1/a/%2E./b", b"/v1/..\\admin", b"/v1/./x", b"/v1/..", b"/x"]
)
def test_a_path_cannot_lead_out(path: bytes) -> None:
    """A path with dot segments, escaped or not, is refused: the service's key must not reach other paths."""
    with pytest.raises(Refusal) as caught:
        target(path, b"")
    assert caught.value.answer.status == 400


def test_an_answer_comes_back_as_it_came() -> None:
    """Status and body are the provider's; its request id keeps a name of its own, its cookies stay away."""
    headers = (("Content-Type", "application/json"), ("Set-Cookie", "a=b"), ("X-Request-ID", "up"),
               ("transfer-encoding", "chunked"), ("x-tailrace-cache", "miss"))  # fmt: skip
    assert returned(wire.Response(200, headers, b"{}")) == Answer(
        200,
        ((b"content-type", b"application/json"), (b"x-upstream-request-id", b"up"), (b"x-tailrace-cache", b"miss")),
        b"{}",
        "miss",
    )


def test_an_outage_says_when_to_come_back() -> None:
    """A provider's 503 gets a Retry-After when it has none, and keeps its own; a 500 gets none."""
    json = ("content-type", "application/json")
    names = {name for name, _ in returned(wire.Response(503, (json,), b"{}")).headers}
    assert b"retry-after" in names
    kept = returned(wire.Response(503, (json, ("retry-after", "9")), b"{}"))
    assert [value for name, value in kept.headers if name == b"retry-after"] == [b"9"]
    assert b"retry-after" not in dict(returned(wire.Response(500, (json,), b"{}")).headers)


def test_a_page_of_a_proxy_is_not_passed_on() -> None:
    """A 5xx that is no JSON becomes an error that OpenAI clients parse."""
    answer = returned(wire.Response(502, (("content-type", "text/html"), ("x-tailrace-attempts", "3")), b"<h1>"))
    assert answer.status == 502
    assert error_of(answer)["code"] == "provider_error"
    assert dict(answer.headers)[b"x-tailrace-attempts"] == b"3"


@pytest.mark.parametrize(
    ("error", "status", "code", "later"),
    [
        (errors.ConnectionFailed("m", REQUEST), 503, "provider_unavailable", True),
        (errors.CircuitOpen("m", REQUEST), 503, "provider_unavailable", True),
        (errors.TimedOut("m", REQUEST), 504, "provider_timeout", True),
        (errors.DeadlineExceeded("m", REQUEST), 504, "provider_timeout", True),
        (errors.BudgetExceeded("m", REQUEST), 429, "budget_exceeded", False),
        (errors.InputRejected("too long", REQUEST, "messages[0]"), 400, "input_rejected", False),
    ],
)
def test_each_error_has_its_status(error: openai.APIError, status: int, code: str, later: bool) -> None:
    """Each error of the client becomes an OpenAI-shaped answer with the right status."""
    answer = failed(error)
    assert (answer.status, answer.outcome) == (status, "error")
    told = error_of(answer)
    assert told["code"] == code
    assert set(told) == {"message", "type", "param", "code"}
    assert (b"retry-after" in dict(answer.headers)) is later
