"""Server-sent events, read while they pass: whether the stream is complete, and how many tokens it used."""

from __future__ import annotations

import re
from typing import Final

import orjson

from tailrace.client.response.usage import FINISHED, NO_USAGE, UNREAD, Reading, reading, usage

_DONE: Final = re.compile(rb"(?:^|[\r\n])data: ?\[DONE\][ ]*(?:\r\n\r\n|\n\n|\r\r)")
_COMPLETED: Final = re.compile(
    rb'(?:^|[\r\n])data: ?\{[^\r\n]*"type": ?"response\.completed"[^\r\n]*(?:\r\n\r\n|\n\n|\r\r)'
)
_TAIL_BYTES: Final = 256 << 10
_END_BYTES: Final = 64  # room for the terminator and a line end before it


class StreamWatch:
    """Watches the chunks of one stream without changing them.

    It keeps all of them for the cache, up to `max_bytes`; beyond that only the end, which holds the usage.
    """

    def __init__(self, operation: str, max_bytes: int = 0) -> None:
        self._operation = operation
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._kept = 0
        self._total = 0
        self._end = b""

    def feed(self, chunk: bytes) -> None:
        """Note the next chunk."""
        self._chunks.append(chunk)
        self._kept += len(chunk)
        self._total += len(chunk)
        self._end = (self._end + chunk[-_END_BYTES:])[-_END_BYTES:]
        if self._kept > max(self._max_bytes, 2 * _TAIL_BYTES):
            self._max_bytes = 0
            tail = b"".join(self._chunks)[-_TAIL_BYTES:]
            self._chunks, self._kept = [tail], len(tail)

    @property
    def whole(self) -> tuple[bytes, ...] | None:
        """All chunks as they came, or None when they were too many to keep."""
        return tuple(self._chunks) if self._max_bytes and self._total <= self._max_bytes else None

    @property
    def terminated(self) -> bool:
        """Whether the terminator of the stream has passed."""
        if self._operation == "responses":
            return _COMPLETED.search(b"".join(self._chunks)) is not None
        return _DONE.search(self._end) is not None

    def reading(self) -> Reading:
        """Return what the stream says about itself, once it is over."""
        events = _events(b"".join(self._chunks))
        return _responses_reading(events) if self._operation == "responses" else self._chat_reading(events)

    def _chat_reading(self, events: list[object]) -> Reading:
        counted, model = NO_USAGE, ""
        reasons: dict[str, object] = {}
        for event in events:
            if not isinstance(event, dict):
                continue
            if event.get("error"):
                return UNREAD
            if isinstance(event.get("model"), str):
                model = event["model"]
            if event.get("usage"):
                counted = usage(event["usage"])
            choices = event.get("choices")
            for choice in choices if isinstance(choices, list) else ():
                if isinstance(choice, dict):
                    index = str(choice.get("index", 0))
                    reasons[index] = choice.get("finish_reason") or reasons.get(index)
        finished = bool(reasons) and all(reason in FINISHED for reason in reasons.values())
        return Reading(finished and self.terminated, counted, model)


def _responses_reading(events: list[object]) -> Reading:
    for event in reversed(events):
        if isinstance(event, dict) and str(event.get("type")).startswith("response."):
            if event["type"] in ("response.completed", "response.incomplete", "response.failed"):
                return reading(event.get("response"), "responses")
            return UNREAD
    return UNREAD


def _events(text: bytes) -> list[object]:
    """Return the JSON documents of the `data:` lines; a line that was cut is skipped."""
    documents: list[object] = []
    for line in text.splitlines():
        if line.startswith(b"data:") and line[5:7].strip() != b"[":
            try:
                documents.append(orjson.loads(line[5:].strip()))
            except orjson.JSONDecodeError:
                continue
    return documents
