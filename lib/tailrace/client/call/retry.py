"""Whether to retry, and after how long. Pure: an outcome goes in, a decision comes out."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeAlias

from tailrace.client.call.causes import TRANSIENT, Cause
from tailrace.client.policy import Retry
from tailrace.client.wire import Headers, Response, Unanswered, header
from tailrace.protocol.reading import loads

Outcome: TypeAlias = Response[Any] | Unanswered
_HOPELESS: Final[frozenset[Cause]] = frozenset({"quota", "context_length", "content_filter"})
"""Somebody has to pay, or the request has to change: no retry helps, whatever the provider says."""


def retryable(outcome: Outcome, why: Cause) -> bool:
    """Whether another attempt may succeed, after one that failed with `outcome`; `why` is its cause.

    The provider's own `x-should-retry` counts, unless the cause says that no retry helps.
    """
    if why in _HOPELESS:
        return False
    should_retry = header(outcome.headers, "x-should-retry") if isinstance(outcome, Response) else None
    return should_retry == "true" if should_retry in ("true", "false") else why in TRANSIENT


def health(outcome: Outcome) -> tuple[bool | None, bool]:
    """Return whether the outcome shows a broken provider (None when it does not tell), and an overloaded one."""
    if isinstance(outcome, Unanswered):
        return None if outcome.kind == "too_large" else True, outcome.kind == "timeout"
    if outcome.status == 429:
        return None, True
    return outcome.status >= 500, outcome.status >= 500


def parsed(outcome: Outcome) -> tuple[Any, bool]:
    """Return the JSON of a successful answer that is not a stream, and whether it is malformed."""
    if isinstance(outcome, Unanswered) or not isinstance(outcome.body, bytes):
        return None, False
    if not 200 <= outcome.status < 300 or outcome.status == 204:
        return None, False  # a redirection needs no body, and 204 says that there is none
    try:
        return loads(outcome.body), False
    except ValueError:
        return None, True


def backoff_s(retry: Retry, failures: int, chance: Callable[[], float]) -> float:
    """Return the wait after the `failures`th failure (from 1): full jitter."""
    return chance() * min(retry.cap_s, retry.base_s * 2.0 ** min(failures - 1, 60))


def wait_s(retry: Retry, jittered_s: float, demanded_s: float | None, left_s: float | None) -> float | None:
    """Return the wait before the next attempt, from the jittered backoff and what the provider demands.

    None when that is longer than the provider may demand, or than the deadline, `left_s` from now, allows.
    """
    if demanded_s is None:
        return jittered_s if left_s is None or jittered_s < left_s else None
    if demanded_s > retry.max_retry_after_s or (left_s is not None and demanded_s >= left_s):
        return None
    # a little jitter on top: callers who got the same moment must not all come back at that moment
    most_s = demanded_s + min(jittered_s, 0.1 * demanded_s + 0.05)
    if demanded_s < retry.base_s:  # next to nothing: it would burn all attempts at once
        most_s = max(most_s, jittered_s)
    return most_s if left_s is None or most_s < left_s else demanded_s


def retry_after_s(headers: Headers, now: float) -> float | None:
    """Return the wait that the provider demands: `retry-after-ms`, `retry-after` in seconds or as an HTTP date.

    `now` is wall-clock seconds. None when there is no such header, or it names no moment to come: 0, one that is past,
    or nonsense. The SDK reads them in the same way.
    """
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = header(headers, name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit_s
        except ValueError:
            continue
        if math.isinf(seconds) and "inf" in value.lower():
            return None
        return seconds if seconds > 0 else None
    return _until(header(headers, "retry-after"), now)


def _until(date: str | None, now: float) -> float | None:
    """Return the seconds until an HTTP date, which is in GMT also where it does not say so; None when it is past."""
    try:
        moment = parsedate_to_datetime(date) if date is not None else None
        seconds = 0.0 if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None
