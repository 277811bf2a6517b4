"""The error that a JSON document holds, in whichever shape a provider gives it.

    {"error": {"message", "type", "code", "param"}}          OpenAI, and most others; `code` may be a number
    {"type": "error", "error": {"type", "message"}}          Anthropic
    [{"error": {"code", "status", "message", "details"}}]    Gemini: a list of one
    {"error": "…", "error_type": "…"}                        Text Generation Inference, Ollama
    {"error": {"code": 429, "metadata": {"raw": "…"}}}       OpenRouter: the error of the provider behind it
    {"detail": "…"}, {"detail": [{"msg", "type"}]}           FastAPI
    {"object": "error", "message", "type", "code"}           vLLM, Mistral
    {"code": 500, "msg": "…"}, {"fault": {"faultstring"}}    gateways
    {"title": "…", "detail": "…", "status": 402}             problem details, RFC 9457
    {"error": {"message": ["…", {"message": "…"}]}}          lists of messages
    {"type": "response.failed", "response": {"error": …}}    the last event of a stream of the responses API
    You exceeded your current quota                          plain text, or the title of a proxy's page

Only what is named here is read: what a provider repeats of the request, such as `input`, says nothing.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

_CONTAINERS: Final = frozenset(
    {
        "error",
        "errors",
        "detail",
        "details",
        "innererror",
        "metadata",
        "fault",
        "violations",
        "response",
        "choices",
        "message",
        "msg",
    }
)
_CODES: Final = frozenset(
    {"code", "type", "status", "reason", "error_code", "errorcode", "error_type", "limit_source", "quotaid", "__type"}
)
_TEXTS: Final = frozenset(
    {"message", "msg", "error", "detail", "error_msg", "faultstring", "raw", "errors", "title", "error_description"}
)
_MOST_PARTS: Final = 64
_MOST_CHARACTERS: Final = 4096
_MOST_PLAIN_BYTES: Final = 512
_MOST_PAGE_BYTES: Final = 8192
_PAGE: Final = re.compile(r"\s*<(!doctype html|html|head|\?xml)\b", re.I)
_HEADINGS: Final = re.compile(r"<(title|h1|h2)\b[^>]*>([^<]*)", re.I)
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


class ErrorDocument(NamedTuple):
    """What a document says of an error; everything is in lower case but `word`."""

    codes: tuple[str, ...] = ()
    """The values of `code`, `type`, `status` and their like, the innermost error first; numbers as digits."""
    text: str = ""
    """The messages, at most 4,096 characters of them."""
    word: str = ""
    """The provider's own name for the error when that is a plain word, so that it may be logged; else ""."""

    @property
    def status(self) -> int | None:
        """The HTTP status that a code is; None when none is one."""
        return next((int(code) for code in self.codes if len(code) == 3 and code.isdigit() and code >= "400"), None)


NO_ERROR: Final = ErrorDocument()


def read_error(document: object) -> ErrorDocument:
    """Return what `document`, any JSON, says of an error."""
    codes: list[str] = []
    texts: list[str] = []
    parts: list[Any] = [document]
    for part in parts:  # it grows while it is read, up to a limit: a document may be of any size
        if isinstance(part, list):
            parts.extend(part[: max(0, _MOST_PARTS - len(parts))])
        elif isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            inner = [
                value for key, value in part.items() if _name(key) in _CONTAINERS and isinstance(value, dict | list)
            ]
            parts.extend(inner[: max(0, _MOST_PARTS - len(parts))])
            codes[:0] = [str(value) for key, value in sorted(part.items(), key=_order) if _is_code(key, value)]
            texts.extend(value for key, value in part.items() if _name(key) in _TEXTS and isinstance(value, str))
    text = " ".join(text[:_MOST_CHARACTERS] for text in texts)[:_MOST_CHARACTERS]
    return ErrorDocument(tuple(code.strip().lower()[:100] for code in codes), text.lower(), _word(document))


def read_error_text(body: bytes) -> ErrorDocument:
    """Return what `body`, which is no JSON, says of an error: its first 512 bytes, or the headings of a page."""
    page = body[:_MOST_PAGE_BYTES].decode("utf-8", "replace")
    if _PAGE.match(page):
        return ErrorDocument(text=" ".join(heading for _, heading in _HEADINGS.findall(page)).lower())
    return ErrorDocument(text=body[:_MOST_PLAIN_BYTES].decode("utf-8", "replace").lower())


def _word(document: object) -> str:
    """Return the first of code, type and status of the error that is a plain word."""
    part = document[0] if isinstance(document, list) and document else document
    for name in ("response", "error"):
        inner = part.get(name) if isinstance(part, dict) else None
        part = inner if isinstance(inner, dict) else part
    values = [part.get(name) for name in ("code", "type", "status")] if isinstance(part, dict) else []
    return next((value for value in values if isinstance(value, str) and _WORD.fullmatch(value)), "")


def _name(key: object) -> str:
    return key.lower() if isinstance(key, str) else ""


def _is_code(key: object, value: object) -> bool:
    return _name(key) in _CODES and isinstance(value, str | int) and not isinstance(value, bool)


def _order(pair: tuple[object, object]) -> int:
    """Sort the most exact name first: a code, then a type, then the others."""
    return {"code": 0, "error_code": 0, "type": 1}.get(_name(pair[0]), 2)
