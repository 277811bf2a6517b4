"""The rows of a call and of its attempts: what they were and what they cost, handed to the policy's hooks.

They hold no prompt, no answer, no header, no key and no URL, so that a hook may write all of it down.
"""

from __future__ import annotations

from array import array
from typing import Literal, NamedTuple, TypeAlias

from tailrace.client.call.causes import Cause
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
    fallback: bool = False  # whether one of the policy's fallbacks gave the answer, or was asked last

    @property
    def billed(self) -> bool:
        """Whether the tokens belong to an answer that the provider gave to this very call."""
        return self.attempts > 0 and self.cache in ("miss", "bypass")


class Attempt(NamedTuple):
    """One attempt of a call: one request to the provider, and what came of it. Durations in seconds.

    An attempt that was stopped, because its caller left or a hedge was faster, has no row. Of two side by side that
    both ended, the one that was not taken comes first.
    """

    operation: str
    model: str  # as it was sent: of a fallback, its own
    tenant: str
    provider: str
    number: int  # from 1, through the whole call
    target: str  # the name of the target that it went to; "" when the policy has none
    status: int  # 0 when no answer came
    cause: Cause | None  # why it failed; None for a good answer
    duration_s: float  # to the end of the answer; of a stream, to its first bytes
    wait_s: float | None = None  # before the next attempt; None when none follows here
