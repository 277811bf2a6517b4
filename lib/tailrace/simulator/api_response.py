"""A response of the simulated API: whole, or as the parts of a stream."""

from __future__ import annotations

from dataclasses import dataclass

EVENT_STREAM = "text/event-stream; charset=utf-8"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A body, or the parts of a stream, with the tokens that they stand for."""

    body: bytes = b""
    status: int = 200
    headers: Headers = ()
    parts: tuple[bytes, ...] = ()
    """Server-sent events; without `sizes`, part *i* is sent with token *i*."""
    sizes: tuple[int, ...] = ()
    """The tokens in each part, where that is not one; a part with none is sent at once."""
    tail: bytes = b""
    """Sent with the last part: finish reason, usage and terminator."""
    in_tok: int = 0
    out_tok: int = 0
    """Of all choices together, reasoning included."""
    reasoning_tok: int = 0
    steps: int = 0
    """Tokens that come one after the other: those of the longest choice."""
    media: str = "application/json"
    api: str = ""
    """Whose stream this is: chat, completions or responses."""

    @property
    def stream(self) -> bool:
        return bool(self.parts)
