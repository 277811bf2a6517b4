"""Errors under a status of success, in a body or at the beginning of a stream, as the errors that they are.

The status is the one that the error's code means: its number (OpenRouter), else that of its cause, else 502.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from tailrace.client.call.causes import Cause, error_cause
from tailrace.client.wire import Headers, Response
from tailrace.protocol import failures
from tailrace.protocol.answer import AnswerReader
from tailrace.protocol.body import failure_of
from tailrace.protocol.error_document import read_error
from tailrace.protocol.events import EventParser
from tailrace.protocol.reading import loads

HELD_S: Final = 5.0
"""For this long after its first byte a stream is held back until its first token: behind it, a proxy may wait for a
byte, and a provider that is alive sends comments."""
_TOKEN: Final = re.compile(rb'"content": ?"[^"]')
_ROLE: Final = re.compile(rb'"role": ?"assistant", ?"content": ?""')
_MOST_HELD_BYTES: Final = 1 << 18
_MOST_BODY_BYTES: Final = 4 << 20
_STATUS: Final[dict[Cause, int]] = {
    "rate_limit": 429, "quota": 429, "credential": 401, "model": 404, "context_length": 400, "content_filter": 400,
    "request": 400, "timeout": 504,
}  # fmt: skip


def revealed(response: Response[Any], document: object, failure: str) -> Response[Any]:
    """Return `response`, whose `document` is a failure of this class, with the status that its error means."""
    error = read_error(document)
    status = error.status or _STATUS.get(error_cause(error, 200), 502)
    return Response(status, response.headers, response.body, failure=failure)


class Opening:
    """The beginning of a stream: the chunks up to its first token, its end or an error.

    A stream that begins with an error is none: `answer` is then what takes its place. Neither is the body of a call
    that wants no stream, whatever the provider calls it: it is held back until its end, and is an answer if it is JSON.
    """

    def __init__(
        self, response: Response[Any], streamed: bool, now: Callable[[], float], left_s: Callable[[], float | None]
    ) -> None:  # fmt: skip
        self._response = response
        self._streamed = streamed
        self._reader: AnswerReader | None = None
        self._now = now
        self._left_s = left_s
        self._began = now()
        self._size = 0
        self.chunks: list[bytes] = []
        self.answer: Response[Any] | None = None

    def more(self, chunk: bytes | None) -> bool:
        """Note the next chunk, None for the end; return whether the stream has still to be held back."""
        if chunk is None:
            body = b"".join(self.chunks)
            document = _document(body) if body.lstrip()[:1] in (b"{", b"[") else None
            if self._streamed:  # JSON in place of events
                self._reveal(document)
            elif document is not None:
                self.answer = Response(self._response.status, self._response.headers, body)
            return False
        self.chunks.append(chunk)
        self._size += len(chunk)
        if not self._streamed:
            return self._size <= _MOST_BODY_BYTES
        if self._reader is None and b"error" not in chunk:  # the usual beginning: a role, then a token
            if _TOKEN.search(chunk):
                return False
            if _ROLE.search(chunk) and b"_call" not in chunk:
                return self._now() - self._began < HELD_S
        if self._reader is None:
            self._reader = AnswerReader(streamed=True)
            for earlier in self.chunks[:-1]:
                self._reader.feed(earlier, 1)
        reader = self._reader
        reader.feed(chunk, 1)
        if reader.failure:
            if reader.failure == failures.ERROR_EVENT and not reader.carried:
                self._reveal(_error_event(b"".join(self.chunks)))
            return False
        if reader.carried or reader.over or self._size > _MOST_HELD_BYTES:
            return False
        return self._now() - self._began < HELD_S

    def left_s(self, silence_s: float | None) -> float | None:
        """Return how long the next chunk may take."""
        left_s = self._left_s()
        return silence_s if left_s is None or (silence_s is not None and silence_s < left_s) else max(0.0, left_s)

    def _reveal(self, document: object) -> None:
        if failure_of(document) != failures.ERROR_BODY:
            return
        headers: Headers = tuple(pair for pair in self._response.headers if pair[0].lower() != "content-type")
        body = orjson.dumps({"error": _innermost(document)})
        answer = Response[Any](200, (*headers, ("content-type", "application/json")), body)
        self.answer = revealed(answer, document, failures.ERROR_EVENT)


def _error_event(data: bytes) -> object:
    """Return the document of the first event that is an error."""
    for text, name, _ in EventParser().feed(data):
        document = _document(text)
        if failure_of(document) == failures.ERROR_BODY:
            return document
        if name == "error":
            return {"error": document or text.decode("utf-8", "replace")}
    return None


def _document(data: bytes) -> object:
    try:
        return loads(data.decode("utf-8", "replace"))
    except ValueError:
        return None


def _innermost(document: Any) -> object:
    """Return the error in `document`, where the SDK looks for its message."""
    if not isinstance(document, dict):
        return document
    choices = document.get("choices")
    holders = [document, document.get("response"), *(choices if isinstance(choices, list) else ())]
    return next((part["error"] for part in holders if isinstance(part, dict) and part.get("error")), document)
