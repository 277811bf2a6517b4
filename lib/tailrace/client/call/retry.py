"""Whether to retry, and after how long. Pure: an outcome goes in, a decision comes out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final

import orjson

from tailrace.client.policy import Retry
from tailrace.client.wire import Headers, Response, Unanswered, header
from tailrace.protocol.reading import loads

NEVER_CODES: Final = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "access_terminated",
     "account_deactivated", "context_length_exceeded"}
)  # fmt: skip
"""A retry does not help: somebody has to pay, or the request has to be smaller."""
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
RETRIED: Final = frozenset({408, 409, 429})


class Classification(Enum):
    """The meaning of an outcome for the next attempt."""

    DONE = "done"
    RETRY = "retry"  # the next attempt may succeed
    REFUSED = "refused"  # the next attempt would fail, too
    EXHAUSTED = "exhausted"  # the account's quota is used up: every call would fail


def classify(outcome: Response[Any] | Unanswered, malformed: bool = False) -> Classification:
    """Return the meaning of `outcome`: no answer, 408, 409, 429 and 5xx are retried; other 4xx are not.

    `malformed` says that a success should be JSON and is not, which counts as no answer.
    """
    if isinstance(outcome, Unanswered):
        return Classification.RETRY
    if outcome.status < 400:
        return Classification.RETRY if malformed else Classification.DONE
    should_retry = header(outcome.headers, "x-should-retry")
    if error_code(outcome) in NEVER_CODES:
        return Classification.EXHAUSTED if outcome.status == 429 else Classification.REFUSED
    if should_retry in ("true", "false"):
        return Classification.RETRY if should_retry == "true" else Classification.REFUSED
    return Classification.RETRY if outcome.status in RETRIED or outcome.status >= 500 else Classification.REFUSED


def parsed(outcome: Response[Any] | Unanswered) -> tuple[Any, bool]:
    """Return the JSON of a successful answer that is not a stream, and whether it is malformed."""
    if isinstance(outcome, Unanswered) or not 200 <= outcome.status < 300 or not isinstance(outcome.body, bytes):
        return None, False  # a redirection needs no body
    try:
        return loads(outcome.body), False
    except ValueError:
        return None, True


def error_code(response: Response[Any]) -> str:
    """Return the provider's own code or type of the error in `response`, or ""."""
    if not isinstance(response.body, bytes) or response.status < 400:
        return ""
    try:
        document = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return ""
    code = error.get("code") or error.get("type")
    return code if isinstance(code, str) and _WORD.fullmatch(code) else ""  # it is logged, so it must not be free text


def backoff_s(retry: Retry, failures: int, chance: Callable[[], float]) -> float:
    """Return the wait after the `failures`th failure (from 1): full jitter."""
    return chance() * min(retry.cap_s, retry.base_s * 2.0 ** min(failures - 1, 60))


def retry_after_s(headers: Headers, now: float) -> float | None:
    """Return the wait that the provider demands: `retry-after-ms`, `retry-after` in seconds or as an HTTP date.

    `now` is wall-clock seconds. None when there is no such header, or its value makes no sense.
    """
    milliseconds = _number(header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = header(headers, "retry-after")
    seconds = _number(value)
    if value is None or seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return number if number >= 0 and not math.isnan(number) else None
