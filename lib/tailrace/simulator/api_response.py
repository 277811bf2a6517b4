"""A response of the simulated API: whole, or as the parts of a stream."""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A body, or the parts of a stream, with the tokens that they stand for."""

    body: bytes = b""
    status: int = 200
    headers: Headers = ()
    parts: tuple[bytes, ...] = ()
    """Server-sent events; part *i* is sent with token *i*."""
    tail: bytes = b""
    """Sent with the last part: finish reason, usage and terminator."""
    in_tok: int = 0
    out_tok: int = 0
    """Of all choices together."""
    steps: int = 0
    """Tokens that come one after the other: those of the longest choice."""
    media: str = "application/json"

    @property
    def stream(self) -> bool:
        return bool(self.parts)
