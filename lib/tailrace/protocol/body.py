"""Answers that are not streams: one JSON document."""

from __future__ import annotations

from typing import Any, Final

from tailrace.protocol import failures
from tailrace.protocol.deltas import message_carries, output_carries
from tailrace.protocol.reading import FINISHED, NO_GAPS, Answer, is_empty, loads
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
    failed = failure_of(document)
    if failed != failures.ERROR_BODY:
        return read_sound(document, api)
    return _said(document)._replace(failure=failed, ended=True) if isinstance(document, dict) else Answer(failed)


def _said(document: dict[str, Any]) -> Answer:
    """Return the usage and the model that `document` names."""
    model = document.get("model")
    return Answer(usage=usage(document), model=model if isinstance(model, str) else "")


def read_sound(document: object, api: str = "") -> Answer:
    """Return what `document` says, which is known to be no error (`failure_of`)."""
    if not isinstance(document, dict):
        return Answer(failures.BAD_BODY)
    counts = usage(document)
    model = document.get("model")
    name = model if isinstance(model, str) else ""
    carried, reasons, finished = _SHAPES.get(api, _by_shape)(document)
    failure = ""
    if not carried and is_empty(reasons, counts):
        failure = failures.EMPTY_ANSWER
    return Answer(failure, 0, counts, name, 0, 0, 0, NO_GAPS, reasons, finished and not failure, True)


def failure_of(document: object) -> str:
    """Return the class of the failure that a document with a status of success is: ERROR_BODY for an error, also in a
    choice, of a response, or of a gateway's own form; EMPTY_ANSWER when it names choices and has none; "" for neither.
    """
    if not isinstance(document, dict):
        first = document[0] if isinstance(document, list) and document else None
        return failures.ERROR_BODY if isinstance(first, dict) and first.get("error") else ""
    get = document.get
    if get("error") or get("status") == "failed" or get("object") == "error" or get("type") == "error":
        return failures.ERROR_BODY
    choices = get("choices", document)
    if choices is document:
        told = get("message") or get("msg") or get("detail") or get("errors")
        failed = get("type") == "response.failed" or (told and document.keys().isdisjoint(_ANSWERS))
        return failures.ERROR_BODY if failed else ""
    if not choices:
        return failures.EMPTY_ANSWER
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and (choice.get("finish_reason") == "error" or choice.get("error")):
            return failures.ERROR_BODY
    return ""


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
    if not carried and reason == "completed":  # no output, and the provider says that it is all there is, and counts it
        carried = document.get("output") == [] and usage(document).out_tok > 0
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
