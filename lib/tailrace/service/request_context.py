"""The context of one request while it is handled: the source of its log line and its metrics."""

from __future__ import annotations

import re
import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tailrace import credentials

if TYPE_CHECKING:
    from tailrace.client.accounting import Call

ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""Long enough for the ids that proxies and tracers make."""

ROUTES = frozenset(
    f"/v1/{name}"
    for name in ("chat/completions", "completions", "responses", "embeddings", "models", "moderations", "files",
                 "batches", "images/generations", "audio/speech", "audio/transcriptions")
)  # fmt: skip


@dataclass(slots=True)
class RequestContext:
    """One request; `route` is a template, never the caller's path."""

    request_id: str
    method: str
    route: str
    started_s: float = field(default_factory=time.perf_counter)
    status: int = 0
    """Of the response, once it has begun; 0 before."""
    outcome: str = ""
    error_type: str = ""
    call: Call | None = None
    """The client's record of the call, once the call has ended."""

    def log_fields(self, duration_s: float) -> dict[str, Any]:
        """Return the fields of the log line."""
        fields: dict[str, Any] = {
            "request_id": self.request_id,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "outcome": self.outcome,
            "duration_ms": round(duration_s * 1e3, 3),
        }
        if error_type := self.error_type or plain_word(self.call.error_type if self.call is not None else ""):
            fields["error_type"] = error_type
        if (call := self.call) is not None:
            fields |= {
                "cache": call.cache,
                "attempts": call.attempts,
                "backoff_ms": round(call.backoff_s * 1e3, 3),
                "in_tok": call.in_tok,
                "out_tok": call.out_tok,
                "cached_tok": call.cached_tok,
                "cost_usd": call.cost_usd,
            }
        return fields


CURRENT: ContextVar[RequestContext] = ContextVar("tailrace_request")
"""The context of the running request; the tasks that a call starts inherit it."""


def begin(scope: Any, route: str) -> RequestContext:
    """Return the context of a new request and make it the current one."""
    context = RequestContext(request_id(scope["headers"]), scope["method"], route)
    CURRENT.set(context)
    return context


def request_id(headers: list[tuple[bytes, bytes]]) -> str:
    """Return the caller's `x-request-id` if it is a plain identifier, else a new one.

    The id goes into logs, so one that looks like a credential or could break a line is replaced.
    """
    for name, value in headers:
        if name == b"x-request-id" and (plain := plain_word(value.decode("latin-1"))):
            return plain
    return f"req_{secrets.token_hex(12)}"


def plain_word(text: str) -> str:
    """Return `text` if it is one plain word, else "": error codes come from the provider."""
    return text if ID.fullmatch(text) and not any(True for _ in credentials.find(text)) else ""


def route_of(path: str) -> str:
    """Return the template of a forwarded path."""
    return path if path in ROUTES else "/v1/*"
