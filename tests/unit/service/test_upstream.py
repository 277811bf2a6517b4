"""Which headers and paths go to the provider, and what comes back to the caller."""

import openai
import orjson
import pytest

from tailrace import credentials
from tailrace.client import errors, wire
from tailrace.service.http_response import HttpError, HttpResponse
from tailrace.service.upstream import NOT_SENT, caller_response, failure_response, upstream_headers, upstream_path

REQUEST = wire.Request("POST", "http://127.0.0.1:9/v1/chat/completions", (), b"")


def error_of(response: HttpResponse) -> dict[str, object]:
    assert isinstance(response.body, bytes)
    error: dict[str, object] = orjson.loads(response.body)["error"]
    return error


def test_the_services_key_replaces_the_callers() -> None:
    """The caller's credential is not sent on; it only tells tenants apart."""
    mine = upstream_headers([(b"authorization", b"Bearer mine"), (b"accept", b"*/*")], "service")
    yours = upstream_headers([(b"authorization", b"Bearer yours"), (b"accept", b"*/*")], "service")
    assert mine.headers == yours.headers == (("accept", "*/*"), ("authorization", "Bearer service"))
    assert mine.tenant != yours.tenant
    assert "mine" not in mine.tenant
    assert upstream_headers([], "service").tenant == ""


@pytest.mark.parametrize("name", [name for name in credentials.HEADERS if name.encode() not in NOT_SENT])
def test_the_key_header_of_no_provider_is_sent_on(name: str) -> None:
    """A caller's key tells tenants apart, and stays here if the service has one of its own, in any header."""
    mine, yours = (upstream_headers([(name.encode(), key)], "service") for key in (b"mine", b"yours"))
    assert mine.headers == yours.headers == (("authorization", "Bearer service"),)
    assert mine.tenant != yours.tenant
    assert upstream_headers([(name.encode(), b"mine")], "").headers == ((name, "mine"),)


def test_a_header_that_is_no_credential_tells_nobody_apart() -> None:
    """The negative control: other headers are sent on, and two callers without a credential are one."""
    for name in (b"openai-beta", b"anthropic-version", b"idempotency-key"):
        sent = upstream_headers([(name, b"1")], "service")
        assert sent == (((name.decode(), "1"), ("authorization", "Bearer service")), "")


def test_without_a_key_of_its_own_the_service_sends_the_callers() -> None:
    """A service without a key passes the caller's credential on."""
    assert upstream_headers([(b"authorization", b"Bearer mine")], "").headers == (("authorization", "Bearer mine"),)


def test_hop_by_hop_headers_are_not_sent() -> None:
    """Neither are headers named by `Connection`, cookies, and the headers that proxies add."""
    way = [(b"host", b"x"), (b"connection", b"close, x-odd"), (b"x-odd", b"1"), (b"cookie", b"a=b"), (b"te", b"x"),
           (b"x-forwarded-for", b"10.0.0.1"), (b"x-envoy-attempt-count", b"1"), (b"content-length", b"2"),
           (b"accept-encoding", b"gzip"), (b"x-request-id", b"r")]  # fmt: skip
    assert upstream_headers([*way, (b"openai-project", b"p")], "").headers == (("openai-project", "p"),)


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [(b"/v1/models", b"", "/models"), (b"/v1/a%20b", b"x=1&y", "/a%20b?x=1&y"), (b"/v1/a..b", b"", "/a..b")],
)
def test_a_path_is_passed_on_unchanged(path: bytes, query: bytes, expected: str) -> None:
    """Path and query are appended to the provider's base, escapes untouched."""
    assert upstream_path(path, query) == expected


@pytest.mark.parametrize(
    "path", [b"/v1/../admin", b"/v1/%2e%2e/admin", b"/v1/a/%2E./b", b"/v1/..\\admin", b"/v1/./x", b"/v1/..", b"/x"]
)
def test_a_path_cannot_lead_out(path: bytes) -> None:
    """A path with dot segments, escaped or not, is a 400: the service's key must not reach other paths."""
    with pytest.raises(HttpError) as caught:
        upstream_path(path, b"")
    assert caught.value.response.status == 400


def test_a_response_is_passed_back() -> None:
    """Status and body are the provider's; its request id gets another name, and its cookies are removed."""
    headers = (("Content-Type", "application/json"), ("Set-Cookie", "a=b"), ("X-Request-ID", "up"),
               ("transfer-encoding", "chunked"), ("x-tailrace-cache", "miss"))  # fmt: skip
    assert caller_response(wire.Response(200, headers, b"{}")) == HttpResponse(
        200,
        ((b"content-type", b"application/json"), (b"x-upstream-request-id", b"up"), (b"x-tailrace-cache", b"miss")),
        b"{}",
        "miss",
    )


def test_an_outage_has_a_retry_after() -> None:
    """A provider's 503 gets a Retry-After unless it has one; a 500 gets none."""
    json = ("content-type", "application/json")
    names = {name for name, _ in caller_response(wire.Response(503, (json,), b"{}")).headers}
    assert b"retry-after" in names
    kept = caller_response(wire.Response(503, (json, ("retry-after", "9")), b"{}"))
    assert [value for name, value in kept.headers if name == b"retry-after"] == [b"9"]
    assert b"retry-after" not in dict(caller_response(wire.Response(500, (json,), b"{}")).headers)


def test_an_error_page_is_not_passed_back() -> None:
    """A 5xx without JSON becomes an error that OpenAI clients parse."""
    response = caller_response(
        wire.Response(502, (("content-type", "text/html"), ("x-tailrace-attempts", "3")), b"<h1>")
    )
    assert response.status == 502
    assert error_of(response)["code"] == "provider_error"
    assert dict(response.headers)[b"x-tailrace-attempts"] == b"3"


def late(waited_for: errors.Own, retry_after_s: float | None = None) -> errors.DeadlineExceeded:
    error = errors.DeadlineExceeded("m", REQUEST)
    error.waited_for, error.retry_after_s = waited_for, retry_after_s
    return error


@pytest.mark.parametrize(
    ("error", "status", "code", "later"),
    [
        (errors.ConnectionFailed("m", REQUEST), 503, "provider_unavailable", True),
        (errors.AnswerTooLarge("m", REQUEST), 502, "answer_too_large", False),
        (errors.CircuitOpen("m", REQUEST), 503, "provider_unavailable", True),
        (errors.TimedOut("m", REQUEST), 504, "provider_timeout", True),
        (errors.DeadlineExceeded("m", REQUEST), 504, "provider_timeout", True),
        (late("rate", 7.2), 429, "rate_limit_exceeded", True),
        (late("permit"), 503, "service_overloaded", True),
        (late("target", 7.2), 503, "provider_unavailable", True),
        (errors.BudgetExceeded("m", REQUEST), 429, "budget_exceeded", False),
        (errors.BudgetExceeded("m", REQUEST, 60.0), 429, "budget_exceeded", True),
        (errors.PriceUnknown("m", REQUEST), 400, "price_unknown", False),
        (errors.InputRejected("too long", REQUEST, "messages[0]"), 400, "input_rejected", False),
    ],
)
def test_each_error_has_its_status(error: openai.APIError, status: int, code: str, later: bool) -> None:
    """Each error of the client becomes an OpenAI-shaped response with its status."""
    response = failure_response(error)
    assert (response.status, response.outcome) == (status, "error")
    body = error_of(response)
    assert body["code"] == code
    assert set(body) == {"message", "type", "param", "code"}
    assert (b"retry-after" in dict(response.headers)) is later


def test_a_caller_is_told_when_the_services_own_limit_is_free() -> None:
    """The wait goes up to whole seconds; where nobody knows it, it is that of an outage."""
    waits = [dict(failure_response(late(*one)).headers)[b"retry-after"] for one in (("rate", 7.2), ("permit",))]
    assert waits == [b"8", b"2"]


def test_a_budget_that_does_not_begin_anew_is_not_asked_again() -> None:
    """The SDK retries a 429 unless it is told not to; one that comes right, the control, it may ask again."""
    headers = [dict(failure_response(errors.BudgetExceeded("m", REQUEST, wait)).headers) for wait in (None, 60.0)]
    assert [one.get(b"x-should-retry") for one in headers] == [b"false", None]
