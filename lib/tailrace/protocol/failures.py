"""The classes of a failure that an answer's body shows; the same in client, service and load generator."""

from __future__ import annotations

from typing import Final

CUT_STREAM: Final = "cut_stream"
"""A stream without an end: no `[DONE]`, no last event, no finish reason before a clean end."""
CUT_BODY: Final = "reset"
"""A body that is no stream, and whose connection broke before its end."""
BAD_BODY: Final = "bad_body"
"""Neither JSON nor HTTP, or in an encoding that is not known or was damaged."""
ERROR_BODY: Final = "error_body"
"""An error under a status of success: an `error` object, a finish reason `error`, or a failed response."""
ERROR_EVENT: Final = "error_event"
"""The same in a stream, or an event named `error`."""
EMPTY_ANSWER: Final = "empty_answer"
"""A whole answer without a token, a tool call or a refusal."""

BODY_FAILURES: Final = frozenset({CUT_STREAM, BAD_BODY, ERROR_BODY, ERROR_EVENT, EMPTY_ANSWER})
