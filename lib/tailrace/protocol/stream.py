"""Answers that are streams, read while they pass: what each event carries, and when."""

from __future__ import annotations

from array import array
from typing import Any, Final

import orjson

from tailrace.protocol import failures
from tailrace.protocol.deltas import ANSWER, NOTHING, event_carries, message_carries, output_carries
from tailrace.protocol.events import DONE, EventParser
from tailrace.protocol.reading import FINISHED, Answer, is_empty, is_error, loads
from tailrace.protocol.usage import counted

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_NOT_JSON: Final = object()
_MOST_CHOICES: Final = 1024
_MOST_GAPS: Final = 1 << 19


class StreamReader:
    """Reads one stream of chat completions, completions or responses. It keeps times and counts, and no content."""

    __slots__ = (
        "_answer_ns", "_carried", "_chunks", "_counts", "_failure", "_first_ns", "_gaps", "_last_ns", "_model",
        "_parser", "_reasons", "over",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = EventParser()
        self._failure = ""
        self.over = False
        """Whether `[DONE]` or a last event has passed; nothing after it counts."""
        self._carried = False
        self._chunks = self._first_ns = self._answer_ns = self._last_ns = 0
        self._gaps: array[int] = array("q")
        self._counts: object = None
        self._model = ""
        self._reasons: dict[int, str] = {}

    @property
    def failure(self) -> str:
        """The failure that has shown so far."""
        return self._failure

    @property
    def complete(self) -> bool:
        """Whether all has come that was to come, and nothing is wrong with it so far."""
        ended = FINISHED.issuperset(self._reasons.values())  # a choice without an end has ""
        return self.over and ended and bool(self._reasons) and not self._failure and not self._parser.dropped

    @property
    def carried(self) -> bool:
        """Whether a token has come."""
        return self._carried

    def feed(self, data: bytes, at_ns: int) -> None:
        """Read the next bytes, which came at `at_ns`."""
        for text, name, _ in self._parser.feed(data):
            if not self.over:
                self._read(text, name, at_ns)

    def end(self, whole: bool) -> Answer:
        """Return what the stream said; `whole` when the transport says that it came to a clean end."""
        if whole and not self.over:
            for data, name, _ in self._parser.close():
                self._read(data, name, self._last_ns)
        reasons = tuple(reason for reason in self._reasons.values() if reason)
        finished = bool(reasons) and len(reasons) == len(self._reasons)
        ended = self.over or (whole and finished)
        counts = counted(self._counts)
        failure = self._failure
        if not failure and not ended:
            failure = failures.CUT_STREAM
        if not failure and not self._carried and is_empty(reasons, counts):
            failure = failures.EMPTY_ANSWER
        complete = not failure and finished and self.complete
        return Answer(
            failure, self._chunks, counts, self._model, self._first_ns, self._answer_ns, self._last_ns, self._gaps,
            reasons, complete, ended,
        )  # fmt: skip

    def _read(self, data: bytes, name: str, at_ns: int) -> None:
        if name == "error":
            self._fail(failures.ERROR_EVENT)
        try:
            document = orjson.loads(data)
        except orjson.JSONDecodeError:
            document = self._other(data)
        if type(document) is not dict:
            if document is not _NOT_JSON:
                self._fail(failures.BAD_BODY)
            return
        choices = document.get("choices")
        carries = self._choices(choices) if choices else self._typed(document)
        if carries:
            self._token(carries, at_ns)
        if document.get("error"):
            self._fail(failures.ERROR_EVENT)
        if counts := document.get("usage"):
            self._counts = counts
        if not self._model and isinstance(model := document.get("model"), str):
            self._model = model

    def _other(self, data: bytes) -> object:
        """Read data that is not strict JSON: the terminator, an empty heartbeat, or what only the SDK accepts."""
        if data.startswith(DONE):
            self.over = True
        elif data:
            try:
                return loads(data.decode("utf-8", "replace"))  # the standard replaces what is not UTF-8
            except ValueError:
                self._fail(failures.BAD_BODY)
        return _NOT_JSON

    def _choices(self, choices: object) -> int:
        """Note the finish reasons of the choices; return what they carry."""
        carries = NOTHING
        if type(choices) is not list:
            return carries
        for choice in choices:
            if type(choice) is not dict:
                continue
            delta = choice.get("delta")
            if delta is not None:
                content = delta.get("content") if type(delta) is dict else None
                found = ANSWER if type(content) is str and content else message_carries(delta)
            else:
                found = ANSWER if choice.get("text") else message_carries(choice.get("message"))
            if found > carries:
                carries = found
            reason, index = choice.get("finish_reason"), choice.get("index", 0)
            if reason or type(index) is not int or index not in self._reasons:
                self._note(index, reason)
        return carries

    def _note(self, index: object, reason: object) -> None:
        """Note a choice, and why it ended; a number that is none is that of the first one."""
        place = index if isinstance(index, int) else 0
        if place in self._reasons or len(self._reasons) < _MOST_CHOICES:
            text = reason if isinstance(reason, str) else ""
            self._reasons[place] = text or self._reasons.get(place, "")
            if text == "error":
                self._fail(failures.ERROR_EVENT)

    def _typed(self, document: dict[str, Any]) -> int:
        """Read an event without choices: of the responses API, an error, or usage alone; return what it carries."""
        if is_error(document):
            self._fail(failures.ERROR_EVENT)
        kind = document.get("type")
        if not isinstance(kind, str):
            return NOTHING
        if kind in _ENDS:
            self._last_event(kind.removeprefix("response."), document.get("response"))
        elif kind == "response.created" and isinstance(document.get("response"), dict):
            self._reasons[0] = ""
        return event_carries(kind, document)

    def _last_event(self, kind: str, response: object) -> None:
        self.over = True
        self._reasons = {0: "stop" if kind == "completed" else kind}
        if kind == "failed":
            self._fail(failures.ERROR_EVENT)
        if isinstance(response, dict):
            self._counts = response.get("usage")
            self._carried = self._carried or bool(output_carries(response.get("output")))
            if isinstance(response.get("model"), str):
                self._model = response["model"]
            if response.get("status", kind) != kind:
                self._reasons = {0: str(response["status"])}

    def _token(self, carries: int, at_ns: int) -> None:
        if self._chunks:
            if len(self._gaps) < _MOST_GAPS:
                self._gaps.append((at_ns - self._last_ns) // 1000)
        else:
            self._first_ns = at_ns
            self._carried = True
        self._chunks += 1
        self._last_ns = at_ns
        if carries == ANSWER and not self._answer_ns:
            self._answer_ns = at_ns

    def _fail(self, failure: str) -> None:
        self._failure = self._failure or failure
