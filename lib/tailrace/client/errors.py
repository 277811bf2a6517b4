"""The client's errors: the OpenAI SDK's own, or subclasses of them.

    openai.APIError
    ├── openai.APIConnectionError
    │   ├── ConnectionFailed      no answer came, after all attempts
    │   │   └── AnswerTooLarge    an answer came that is too large to be kept: no further attempt was made
    │   ├── CircuitOpen           the provider failed too often just now: nothing was sent
    │   └── openai.APITimeoutError
    │       ├── TimedOut          the last attempt got no answer within its timeout
    │       └── DeadlineExceeded  the deadline of the whole call passed, or would pass before the next step
    ├── BudgetExceeded            the call could exceed the spend limit: nothing was sent
    │   └── PriceUnknown          the spend limit cannot count the call, now or later
    ├── InputRejected             the input guard refused the request: nothing was sent
    └── BodyChanged               a file of an upload changed so that no attempt can send the same bytes
    openai.OpenAIError
    └── WrongEventLoop            an http_client of the caller's own belongs to another event loop: nothing was sent

Each has `attempts` (made upstream), `elapsed_s`, and the last cause as `__cause__`. For an answer with an error
status the SDK raises its own error, to which our clients add `attempts` and `elapsed_s`. No message holds a prompt,
an answer, a header or a key, and `request` is bare: method and URL only.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final, Literal, TypeAlias

import httpx2
import openai

from tailrace.client.wire import Request, Unanswered
from tailrace.headers import ATTEMPTS

__all__ = [
    "AnswerTooLarge",
    "BodyChanged",
    "BudgetExceeded",
    "CircuitOpen",
    "ConnectionFailed",
    "DeadlineExceeded",
    "InputRejected",
    "PriceUnknown",
    "TimedOut",
    "WrongEventLoop",
]

_MOST_DIGITS: Final = 10

Own: TypeAlias = Literal["rate", "permit", "target", ""]
"""What of the policy's own a call waits for: its rate, a permit, a target that is ready; "" for none of them."""


def bare(request: Request | httpx2.Request) -> httpx2.Request:
    """Return `request` without what an error must not carry: headers, body, query and user info."""
    url = httpx2.URL(str(request.url)).copy_with(query=None, fragment=None, username=None, password=None)
    return httpx2.Request(request.method, url)


class _Traced:
    attempts: int = 0
    elapsed_s: float = 0.0

    def after(self, attempts: int, elapsed_s: float) -> None:
        """Note how many attempts were made, and the time since the call started."""
        self.attempts, self.elapsed_s = attempts, elapsed_s


class ConnectionFailed(_Traced, openai.APIConnectionError):
    def __init__(self, message: str, request: Request) -> None:
        super().__init__(message=message, request=bare(request))


class AnswerTooLarge(ConnectionFailed):
    """The provider answers with more than is kept of an answer that is read whole; so would the next attempt."""


class CircuitOpen(_Traced, openai.APIConnectionError):
    def __init__(self, message: str, request: Request) -> None:
        super().__init__(message=message, request=bare(request))


class _Late(_Traced, openai.APITimeoutError):
    def __init__(self, message: str, request: Request) -> None:
        super().__init__(request=bare(request))
        self.message = message
        self.args = (message,)


class TimedOut(_Late):
    pass


class DeadlineExceeded(_Late):
    """`waited_for` says that the provider was not late: the call waited, or would have to wait, for the policy's own.

    `retry_after_s` is the time until that is free; None when nobody knows.
    """

    waited_for: Own = ""
    retry_after_s: float | None = None


class BudgetExceeded(_Traced, openai.APIError):
    """`retry_after_s` is the time until the budget begins anew; None when it does not, or when that would not help."""

    def __init__(self, message: str, request: Request, retry_after_s: float | None = None) -> None:
        super().__init__(message, bare(request), body=None)
        self.retry_after_s = retry_after_s


class PriceUnknown(BudgetExceeded):
    """The price of the call is not known, so the limit cannot count it: to wait, or to call again, changes nothing."""


class InputRejected(_Traced, openai.APIError):
    """`where` is the place in the request body, such as `messages[2].content`."""

    def __init__(self, message: str, request: Request, where: str) -> None:
        super().__init__(message, bare(request), body=None)
        self.where = where
        self.param = where


class BodyChanged(_Traced, openai.APIError):
    """A file of an upload was shortened or rewritten during the call. It is no failure of the provider."""

    def __init__(self, message: str, request: Request | httpx2.Request) -> None:
        super().__init__(message, bare(request), body=None)


class WrongEventLoop(openai.OpenAIError, RuntimeError):
    """The caller's own connections belong to another event loop. It has no request, and nothing to try again."""

    def __init__(self) -> None:
        super().__init__(
            "this http_client was used on another event loop, to which its connections belong; leave http_client out "
            "(the client's own connections work on every loop), or make one client for each loop"
        )


def traced(error: openai.APIStatusError) -> openai.APIStatusError:
    """Return the SDK's error for an answer, with `attempts` and `elapsed_s` added."""
    response = error.response
    error.elapsed_s = 0.0  # type: ignore[attr-defined]
    attempts = response.headers.get(ATTEMPTS, "")  # without a policy it is the peer's own, whatever that says
    plain = attempts.isascii() and attempts.isdigit() and len(attempts) < _MOST_DIGITS
    error.attempts = int(attempts) if plain else 1  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # httpx2: an answer that was not read to its end has no duration yet
        error.elapsed_s = response.elapsed.total_seconds()  # type: ignore[attr-defined]
    return error


def too_deep() -> json.JSONDecodeError:
    """Return the error for an answer that is nested more deeply than Python reads: as for any that is no JSON."""
    return json.JSONDecodeError("the answer is nested too deeply", "", 0)


def in_stream(request: httpx2.Request) -> openai.APIError:
    """Return the error to raise for a stream that held an error in a form that the SDK does not know."""
    return openai.APIError("the provider ended the stream with an error", bare(request), body=None)


def no_answer(unanswered: Unanswered, request: Request, sent: int) -> ConnectionFailed | TimedOut:
    """Return the error to raise for a call whose last attempt, of `sent`, got no answer."""
    attempts = f"{sent} attempt{'s' * (sent != 1)}"
    if unanswered.kind == "timeout":
        return TimedOut(f"no answer in time, {attempts}", request)
    if unanswered.kind == "too_large":
        return AnswerTooLarge(f"{unanswered}, {attempts}", request)
    cause = type(unanswered.__cause__).__name__ if unanswered.__cause__ else str(unanswered)
    return ConnectionFailed(f"no answer: {cause}, {attempts}", request)


def broken(unanswered: Unanswered, request: Request) -> Exception:
    """Return the error to raise for a stream that broke while it was read: the transport's own, where there is one."""
    cause = unanswered.__cause__
    if isinstance(cause, httpx2.HTTPError | openai.OpenAIError):
        return cause
    if unanswered.kind == "timeout":
        return TimedOut(f"the stream stalled: {unanswered}", request)
    return ConnectionFailed(f"the stream broke: {unanswered}", request)
