"""Whether to retry, and after how long. Pure: an outcome goes in, a decision comes out."""

from __future__ import annotations

import math
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Final

from tailrace.client.call.causes import TRANSIENT, Cause
from tailrace.client.policy import Retry
from tailrace.client.wire import Headers, Response, Unanswered, header
from tailrace.protocol.reading import loads

_HOPELESS: Final[frozenset[Cause]] = frozenset({"quota", "context_length", "content_filter"})
"""Somebody has to pay, or the request has to change: no retry helps, whatever the provider says."""


def retryable(outcome: Response[Any] | Unanswered, why: Cause) -> bool:
    """Whether another attempt may succeed, after one that failed with `outcome`; `why` is its cause.

    The provider's own `x-should-retry` counts, unless the cause says that no retry helps.
    """
    if why in _HOPELESS:
        return False
    should_retry = header(outcome.headers, "x-should-retry") if isinstance(outcome, Response) else None
    return should_retry == "true" if should_retry in ("true", "false") else why in TRANSIENT


def parsed(outcome: Response[Any] | Unanswered) -> tuple[Any, bool]:
    """Return the JSON of a successful answer that is not a stream, and whether it is malformed."""
    if isinstance(outcome, Unanswered) or not 200 <= outcome.status < 300 or not isinstance(outcome.body, bytes):
        return None, False  # a redirection needs no body
    try:
        return loads(outcome.body), False
    except ValueError:
        return None, True


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
