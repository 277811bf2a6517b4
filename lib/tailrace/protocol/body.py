"""Answers that are not streams: one JSON document."""

from __future__ import annotations

from typing import Any, Final

from tailrace.protocol import failures
from tailrace.protocol.deltas import message_carries, output_carries
from tailrace.protocol.reading import FINISHED, NO_GAPS, Answer, is_empty, is_error, loads
from tailrace.protocol.usage import usage


def read_body(body: bytes, api: str = "") -> Answer:
    """Return what the whole `body` of an answer of `api` says; see `read_document`."""
    try:
        return read_document(loads(body), api)
    except ValueError:
        return Answer(failures.BAD_BODY)


def read_document(document: object, api: str = "") -> Answer:
    """Return what the JSON `document` says.

    `api` is "chat", "completions", "responses" or "embeddings"; any other name means the one that its shape shows, and
    a document of no known shape is taken as it is.
    """
    if not isinstance(document, dict):
        return Answer(failures.ERROR_BODY if holds_error(document) else failures.BAD_BODY)
    counts = usage(document)
    model = document.get("model")
    name = model if isinstance(model, str) else ""
    if holds_error(document):
        return Answer(failures.ERROR_BODY, usage=counts, model=name, ended=True)
    carried, reasons, finished = _SHAPES.get(api, _by_shape)(document)
    failure = ""
    if not carried and is_empty(reasons, counts):
        failure = failures.EMPTY_ANSWER
    return Answer(failure, 0, counts, name, 0, 0, 0, NO_GAPS, reasons, finished and not failure, True)


def holds_error(document: object) -> bool:
    """Whether a document that came with a status of success is an error: also a choice that ended with an error, a
    failed response, and an error of a gateway's own form.
    """
    if not isinstance(document, dict):
        first = document[0] if isinstance(document, list) and document else None
        return isinstance(first, dict) and bool(first.get("error"))
    if is_error(document) or document.get("status") == "failed":
        return True
    if "choices" not in document:
        if document.get("type") == "response.failed":
            return True
        told = document.get("message") or document.get("msg") or document.get("detail") or document.get("errors")
        return bool(told) and document.keys().isdisjoint(_ANSWERS)
    choices = document["choices"]
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and (choice.get("finish_reason") == "error" or choice.get("error"))
        for choice in choices
    )


def lacks_choices(document: object) -> bool:
    """Whether a whole document names choices and has none."""
    return isinstance(document, dict) and not document.get("choices", True)


def _choices(document: dict[str, Any]) -> tuple[bool, tuple[str, ...], bool]:
    """Return whether the choices carry anything, their finish reasons, and whether all are finished."""
    choices = document.get("choices")
    carried, reasons, finished = False, [], bool(choices) and isinstance(choices, list)
    for choice in choices if isinstance(choices, list) else ():
        if not isinstance(choice, dict):
            finished = False
            continue
        if not carried:
            carried = bool(message_carries(choice.get("message")) or choice.get("text"))
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            reasons.append(reason)
        finished = finished and isinstance(reason, str) and reason in FINISHED
    return carried, tuple(reasons), finished


def _response(document: dict[str, Any]) -> tuple[bool, tuple[str, ...], bool]:
    status = document.get("status")
    reason = status if isinstance(status, str) else ""
    # a response that runs in the background has no output yet
    carried = bool(output_carries(document.get("output"))) or reason in ("queued", "in_progress", "cancelled")
    return carried, (reason,) if reason else (), reason == "completed"


def _embeddings(document: dict[str, Any]) -> tuple[bool, tuple[str, ...], bool]:
    data = document.get("data")
    filled = bool(data) and isinstance(data, list)
    return filled, (), filled


def _by_shape(document: dict[str, Any]) -> tuple[bool, tuple[str, ...], bool]:
    if "choices" in document:
        return _choices(document)
    if document.get("object") == "response":
        return _response(document)
    return (_embeddings(document)[0] if "data" in document else True), (), False


_ANSWERS: Final = frozenset({"output", "data", "id", "request_id", "embedding", "embeddings", "response", "usage"})
_SHAPES = {
    "chat": _choices, "completions": _choices, "text_completion": _choices, "responses": _response,
    "embeddings": _embeddings,
}  # fmt: skip
