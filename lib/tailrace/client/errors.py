"""The client's errors: the OpenAI SDK's own, or subclasses of them.

    openai.APIError
    ├── openai.APIConnectionError
    │   ├── ConnectionFailed      no answer came, after all attempts
    │   ├── CircuitOpen           the provider failed too often just now: it was not asked
    │   └── openai.APITimeoutError
    │       ├── TimedOut          the last attempt got no answer in its time
    │       └── DeadlineExceeded  the deadline of the whole call passed, or the next step would not fit
    ├── BudgetExceeded            the call could pass the spend limit: it was not made
    └── InputRejected             the input guard refused it: it was not sent

Each holds `attempts` (made upstream), `elapsed_s`, and the last cause as `__cause__`. An answer that did come
back with an error status is not raised here: the SDK makes its own error of it, to which our clients add `attempts`
and `elapsed_s`. No message holds a prompt, an answer, a header or a key, and `request` is bare: method and URL only.
"""

from __future__ import annotations

from contextlib import suppress

import httpx2
import openai

from tailrace.client.wire import Request, Unanswered
from tailrace.headers import ATTEMPTS

__all__ = [
    "BudgetExceeded",
    "CircuitOpen",
    "ConnectionFailed",
    "DeadlineExceeded",
    "InputRejected",
    "TimedOut",
]


def bare(request: Request) -> httpx2.Request:
    """Return `request` without what must not be carried around: headers, body, query and user info."""
    url = httpx2.URL(request.url).copy_with(query=None, fragment=None, username=None, password=None)
    return httpx2.Request(request.method, url)


class _Traced:
    attempts: int = 0
    elapsed_s: float = 0.0

    def after(self, attempts: int, elapsed_s: float) -> None:
        """Note how far the call had come."""
        self.attempts, self.elapsed_s = attempts, elapsed_s


class ConnectionFailed(_Traced, openai.APIConnectionError):
    def __init__(self, message: str, request: Request) -> None:
        super().__init__(message=message, request=bare(request))


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
    pass


class BudgetExceeded(_Traced, openai.APIError):
    def __init__(self, message: str, request: Request) -> None:
        super().__init__(message, bare(request), body=None)


class InputRejected(_Traced, openai.APIError):
    """`where` is the place in the request body: `messages[2].content`."""

    def __init__(self, message: str, request: Request, where: str) -> None:
        super().__init__(message, bare(request), body=None)
        self.where = where
        self.param = where


def traced(error: openai.APIStatusError) -> openai.APIStatusError:
    """Return the SDK's error for an answer, with `attempts` and `elapsed_s` as our own have them."""
    response = error.response
    error.elapsed_s = 0.0  # type: ignore[attr-defined]
    error.attempts = int(response.headers.get(ATTEMPTS, 1))  # type: ignore[attr-defined]
    with suppress(RuntimeError):  # httpx2: an answer that nobody has read to its end has no duration yet
        error.elapsed_s = response.elapsed.total_seconds()  # type: ignore[attr-defined]
    return error


def broken(unanswered: Unanswered, request: Request) -> Exception:
    """Return what to raise for a stream that broke while it was read: as the transport below would have told it."""
    cause = unanswered.__cause__
    if isinstance(cause, httpx2.HTTPError | openai.OpenAIError):
        return cause
    if unanswered.kind == "timeout":
        return TimedOut(f"the stream stood still: {unanswered}", request)
    return ConnectionFailed(f"the stream broke: {unanswered}", request)
