"""Answers as what they are, whatever status and content type the provider gives them.

An error under a status of success is an error. A body in answer to a call that wants no stream is JSON if it can be
read as JSON, as in the SDK; in answer to one that wants a stream it is a stream of events if it begins like one.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tailrace.client.call.causes import error_of
from tailrace.client.call.pending import PendingCall
from tailrace.client.call.retry import parsed
from tailrace.client.response.revealed import Opening, revealed
from tailrace.client.wire import Replay, Response, Unanswered, header
from tailrace.protocol import failures, media
from tailrace.protocol.body import failure_of
from tailrace.protocol.reading import Answer

_EVENTS: Final = re.compile(rb"\s*(data|event|id|retry)?:")


def opening(call: PendingCall, response: Response[Any]) -> Opening | None:
    """Return what reads the stream of `response` ahead; None when it has an error status."""
    if response.status >= 400:
        return None
    streamed = call.current.stream or media.is_event_stream(header(response.headers, "content-type") or "")
    return Opening(response, streamed, call.clock.monotonic, call.stream_left_s)


def read(call: PendingCall, outcome: Response[Any] | Unanswered) -> Response[Any] | Unanswered:
    """Return the outcome of an attempt as what it is, and keep its JSON in `call`."""
    call.document, call.malformed = parsed(outcome)
    if isinstance(outcome, Unanswered):
        return outcome
    if call.malformed and call.current.stream and _EVENTS.match(outcome.body):
        call.malformed = False
        opened = Opening(outcome, True, call.clock.monotonic, call.stream_left_s)
        opened.more(outcome.body)
        return opened.answer or Response(outcome.status, outcome.headers, Replay((outcome.body,)))
    failure = failure_of(call.document) if call.document is not None else ""
    return revealed(outcome, call.document, failure) if failure else outcome


def failure(call: PendingCall, answer: Answer, response: Response[Any]) -> str:
    """Return the class of the failure that an answer is; "" for a good one."""
    if call.malformed:
        return failures.BAD_BODY
    if response.failure:
        return response.failure
    if response.status >= 400:
        return error_of(response).word or f"http_{response.status}"
    return answer.failure
