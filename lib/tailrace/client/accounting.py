"""The row of a call: what it was and what it cost, handed to the policy's hooks.

It holds no prompt, no answer, no header, no key and no URL, so that a hook may write all of it down.
"""

from __future__ import annotations

from array import array
from typing import Literal, NamedTuple, TypeAlias

from tailrace.protocol.reading import NO_GAPS

Label: TypeAlias = Literal["hit", "miss", "coalesced", "stale", "bypass"]
"""What the cache did for a call."""


class Call(NamedTuple):
    """One call. Durations in seconds, money in US dollars; an unknown cost is None, never 0."""

    operation: str  # "chat", "responses", "embeddings", … by the GenAI conventions of OpenTelemetry
    model: str
    tenant: str
    outcome: Literal["ok", "error", "cancelled"]
    cache: Label
    status: int  # of the last answer; 0 when none came
    attempts: int  # made upstream
    duration_s: float
    backoff_s: float  # of duration_s, between attempts
    queued_s: float  # of duration_s, waiting for a permit or a rate
    in_tok: int
    out_tok: int
    cached_tok: int  # of in_tok
    reasoning_tok: int  # of out_tok
    cost_usd: float | None
    saved_usd: float | None  # what a hit would have cost
    error_type: str
    streamed: bool
    attempts_s: tuple[float, ...]  # how long each attempt took
    detections: tuple[str, ...]  # names of the injection patterns in the input
    asked_model: str = ""  # the model of the request; `model` is the one that answered, by the name it gives itself
    provider: str = "openai"  # by the GenAI conventions; "openai" also for others with the same API
    chunks: int = 0  # of a stream, those that carry tokens
    ttft_s: float | None = None  # from the start of the call to the first token of a stream, retries included
    tpot_s: float | None = None  # (last token − first token) ÷ (out_tok − 1) of a good stream
    gaps_us: array[int] = NO_GAPS  # between the chunks that carry tokens

    @property
    def billed(self) -> bool:
        """Whether the tokens belong to an answer that the provider gave to this very call."""
        return self.attempts > 0 and self.cache in ("miss", "bypass")
