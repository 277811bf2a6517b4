"""Headers that are left out of the cache key, and those that never are."""

import pytest

from tailrace import Cache
from tailrace.client.request.ignored_headers import left_out
from tailrace.client.request.key import asker
from tailrace.client.request.key_headers import NEUTRAL, PREFIXES, neutral
from tailrace.credentials import HEADERS

TRACES = [
    "traceparent", "tracestate", "baggage", "x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-sampling-priority",
    "x-datadog-origin", "x-datadog-tags", "sentry-trace", "newrelic", "x-newrelic-id", "x-newrelic-transaction", "b3",
    "x-b3-traceid", "uber-trace-id", "uberctx-user", "x-amzn-trace-id", "x-amzn-requestid", "x-amz-cf-id", "cf-ray",
    "x-cloud-trace-context", "grpc-trace-bin", "request-id", "x-ms-client-request-id", "elastic-apm-traceparent",
    "x-instana-t", "sw8", "ot-tracer-traceid", "x-ot-span-context", "pinpoint-traceid", "langsmith-trace",
    "x-portkey-trace-id", "x-correlation-id", "correlation-id", "x-trace-id", "x-request-id", "x-vercel-id",
    "x-stainless-retry-count", "x-envoy-attempt-count", "x-forwarded-for",
]  # fmt: skip
KEPT = [
    *HEADERS, "openai-organization", "openai-project", "openai-beta", "anthropic-version", "content-type", "accept",
    "accept-language", "x-session-id", "x-user-id", "x-portkey-config", "helicone-auth", "cf-access-jwt-assertion",
    "x-forwarded-user", "x-forwarded-access-token", "x-tenant", "b33", "traceparents", "newrelics",
]  # fmt: skip


def key(*headers, **rules):
    return asker("POST", "https://h/v1/chat/completions", headers, left_out=Cache(**rules).left_out)


@pytest.mark.parametrize("name", TRACES)
def test_a_name_of_a_trace_is_not_in_the_key(name):
    """What tracers and proxies put into each request does not change the key."""
    assert key((name.upper(), "1")) == key((name, "2")) == key()


@pytest.mark.parametrize("name", KEPT)
def test_what_may_change_the_answer_is(name):
    """The negative control: headers that say who asks or what for, and names that only look like the others."""
    assert key((name, "1")) != key((name, "2"))


def test_no_header_of_the_table_says_who_asks():
    """No credential is neutral, by its name or by its beginning, and all names are in lower case."""
    assert NEUTRAL.isdisjoint(HEADERS)
    assert not any(neutral(name, "session=1") for name in HEADERS)
    assert all(name == name.lower() for name in (*NEUTRAL, *PREFIXES, *HEADERS))


def test_a_callers_own_headers_can_be_left_out():
    """A name and the beginning of names are left out, in any case; others, the control, are not."""
    rules = {"ignore_headers": ("X-Acme-Trace", "x-lab-*")}
    assert key(("x-acme-trace", "1"), ("X-Lab-Run", "2"), **rules) == key(**rules)
    assert key(("x-acme-trace", "1")) != key()
    for name in ("x-acme-trace-2", "x-la", "authorization"):
        assert key((name, "1"), **rules) != key((name, "2"), **rules)


def test_an_identity_takes_the_place_of_the_credential():
    """With an identity, no credential is in the key; organisation and project still are."""
    for name in (*HEADERS, "x-team-token"):
        assert key((name, "1"), identity="team") == key((name, "2"), identity="team")
    assert key(("openai-project", "1"), identity="team") != key(("openai-project", "2"), identity="team")


@pytest.mark.parametrize(
    ("setting", "fact"),
    [({"ignore_headers": "x-trace"}, "expected a tuple of at most 64"),
     ({"ignore_headers": ("x-a",) * 65}, "at most 64"), ({"ignore_headers": ("x a",)}, "not the name of a header"),
     ({"ignore_headers": ("*",)}, "not the name"), ({"ignore_headers": ("x-*-id",)}, "not the name"),
     ({"ignore_headers": (7,)}, "7 is not the name"), ({"ignore_headers": ("Authorization",)}, "says who asks"),
     ({"ignore_headers": ("x-ap*",)}, r"x-api-key, which says who asks; give the cache an identity"),
     ({"identity": ""}, "an empty text"), ({"identity": 7}, "found int")],
)  # fmt: skip
def test_a_wrong_setting_is_named_with_what_to_do(setting, fact):
    """Each message holds the setting, the value and what was expected."""
    with pytest.raises(ValueError, match=fact):
        Cache(**setting)


def test_a_list_of_headers_is_taken_like_a_tuple():
    """A list, as a file of settings gives it, makes the same cache."""
    assert Cache(ignore_headers=["x-a"]).ignore_headers == ("x-a",)
    assert left_out(("x-a",)) is left_out(("x-a",))
