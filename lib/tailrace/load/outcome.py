"""The outcome of one request, as a sender reports it.

The classes of `error_type`:

    connect      no connection was made                     tls         the handshake failed
    timeout      no complete answer within the limit        reset       the connection broke before the answer ended
    http_429 …   an answer of status 400 or above           cancelled   the generator was stopped before the answer
    sender_X     the sender itself raised X: a bug to look at

and those of `protocol.failures`, by what a body says: bad_body, error_body, error_event, cut_stream, empty_answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tailrace.protocol.failures import CUT_BODY

CONNECT: Final = "connect"
TLS: Final = "tls"
TIMEOUT: Final = "timeout"
RESET: Final = CUT_BODY
CANCELLED: Final = "cancelled"

HITS: Final = frozenset({"hit", "coalesced", "stale"})
"""Values of `x-tailrace-cache` that mean that the provider was not called for this answer."""


class RequestOutcome(NamedTuple):
    """The facts of one answer, or of its absence; times are `perf_counter_ns`, 0 when unknown."""

    error_type: str = ""
    status: int = 0
    first_ns: int = 0
    """Of the first token of a stream, of whatever kind."""
    last_ns: int = 0
    cache: str = ""
    colour: str = ""
    release: str = ""
    generation: int = 0
    attempts: int = 1
    backoff_us: int = 0
    chunks: int = 0
    in_tok: int = 0
    out_tok: int = 0
    cached_tok: int = 0
    cost_microusd: int = -1
    byte_ns: int = 0
    """Of the first byte of the body."""
    answer_ns: int = 0
    """Of the first token that is not reasoning."""
    token_ns: int = 0
    """Of the last token."""
    reasoning_tok: int = 0
    gaps_us: Sequence[int] = ()
    """Between chunks that carry tokens, in order."""


def of_exception(error: BaseException) -> str:
    """Return the class of a failure that was raised as an exception."""
    import ssl

    if isinstance(error, ssl.SSLError):
        return TLS
    if isinstance(error, TimeoutError):
        return TIMEOUT
    if isinstance(error, ConnectionResetError | BrokenPipeError | ConnectionAbortedError):
        return RESET
    if isinstance(error, OSError):
        return CONNECT
    return f"sender_{type(error).__name__}"
