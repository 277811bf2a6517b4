"""Retries: how outcomes are classified, how long to wait, and the headers that providers send."""

from datetime import UTC, datetime
from email.utils import format_datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.client.call.causes import cause
from tailrace.client.call.retry import backoff_s, retry_after_s, retryable
from tailrace.client.limiters.budget import RetryBudget
from tailrace.client.policy import Retry
from tailrace.client.wire import Response, Unanswered


def refused(status, code="", headers=(), kind=""):
    return Response(status, headers, orjson.dumps({"error": {"message": "no", "code": code or None, "type": kind}}))


ROWS = [
    ("an answer", Response(200, (), b"{}"), None),
    ("no connection", Unanswered("connection", "refused"), True),
    ("a timeout", Unanswered("timeout", "late"), True),
    ("408 request timeout", refused(408), True),
    ("409 conflict", refused(409), True),
    ("429 rate limit", refused(429, "rate_limit_exceeded"), True),
    ("429 quota", refused(429, "insufficient_quota"), False),
    ("429 quota, told by its type", refused(429, kind="insufficient_quota"), False),
    ("429 billing", refused(429, "billing_hard_limit_reached"), False),
    ("400 bad request", refused(400), False),
    ("400 context length", refused(400, "context_length_exceeded"), False),
    ("401 wrong key", refused(401, "invalid_api_key"), False),
    ("403 forbidden", refused(403), False),
    ("404 no such model", refused(404, "model_not_found"), False),
    ("413 too large", refused(413), False),
    ("422 unprocessable", refused(422), False),
    ("500", refused(500), True),
    ("502, not JSON", Response(502, (), b"<html>"), True),
    ("503", refused(503), True),
    ("504", refused(504), True),
    ("529 overloaded", refused(529), True),
    ("500, but do not", refused(500, headers=(("x-should-retry", "false"),)), False),
    ("400, but do", refused(400, headers=(("x-should-retry", "true"),)), True),
    ("quota stays quota", refused(429, "insufficient_quota", (("x-should-retry", "true"),)), False),
]


@pytest.mark.parametrize(("outcome", "verdict"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_an_outcome_means(outcome, verdict):
    """Outcomes that may differ next time are retried, others are not; None: there is nothing to retry."""
    why = cause(outcome)
    assert (None if why is None else retryable(outcome, why)) is verdict


@given(st.integers(1, 5000), st.floats(0, 1, exclude_max=True), st.floats(0.01, 10), st.floats(0.01, 100))
def test_backoff_stays_within_its_bounds(failures, chance, base_s, cap_s):
    """Full jitter: from 0 to the smaller of the cap and base · 2ⁿ, for any n."""
    wait = backoff_s(Retry(base_s=base_s, cap_s=cap_s), failures, lambda: chance)
    assert 0 <= wait <= min(cap_s, base_s * 2.0 ** min(failures - 1, 60))


def test_backoff_doubles_up_to_the_cap():
    """Without jitter the waits are 0.5, 1, 2, 4, 8, 8."""
    assert [backoff_s(Retry(), n, lambda: 1.0) for n in range(1, 7)] == [0.5, 1, 2, 4, 8, 8]


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WAITS = [
    ((("retry-after", "3"),), 3.0),
    ((("Retry-After", "0.25"),), 0.25),
    ((("retry-after-ms", "1500"), ("retry-after", "9")), 1.5),
    ((("retry-after", format_datetime(NOW.replace(second=15), usegmt=True)),), 10.0),
    ((("retry-after", format_datetime(NOW.replace(second=0), usegmt=True)),), None),
    ((("retry-after", "Fri, 02 Jan 2026 03:04:15"),), 10.0),
    ((("retry-after", "0"),), None),
    ((("retry-after-ms", "0"), ("retry-after", "9")), None),
    ((("retry-after-ms", "soon"), ("retry-after", "9")), 9.0),
    ((("retry-after", "soon"),), None),
    ((("retry-after", ""),), None),
    ((("retry-after", "inf"),), None),
    ((("retry-after", "1e999"),), float("inf")),
    ((("retry-after", "-1"),), None),
    ((("retry-after", "nan"),), None),
    ((), None),
]


@pytest.mark.parametrize(("headers", "expected"), WAITS)
def test_retry_after_is_read_in_all_its_forms(headers, expected):
    """Milliseconds come first, then seconds, then an HTTP date; nonsense and moments that are past are ignored."""
    assert retry_after_s(headers, NOW.timestamp()) == expected


def test_the_budget_bounds_retries_to_a_share_of_calls():
    """In an outage of 1,000 calls with up to three retries each, retries are the burst and a fifth of the calls."""
    budget, retries = RetryBudget(0.2, 10), 0
    for _ in range(1000):
        budget.earn()
        retries += sum(budget.take() for _ in range(3))
    assert 200 <= retries <= 211


def test_without_a_share_the_burst_is_all():
    """Negative control: a budget that earns nothing runs out."""
    budget = RetryBudget(0.0, 3)
    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]
