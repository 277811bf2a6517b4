"""What a call was and what it cost: one frozen row for each, handed to the policy's hooks.

It holds no prompt, no answer, no header, no key and no URL, so that a hook may write all of it down.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

OK: Final = "ok"
ERROR: Final = "error"
CANCELLED: Final = "cancelled"

Label: TypeAlias = Literal["hit", "miss", "coalesced", "stale", "bypass"]
"""What the cache did for a call."""

log = logging.getLogger(__name__)


class Call(NamedTuple):
    """One call. Durations in seconds, money in US dollars; a cost of None is not known, never 0."""

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
    detections: tuple[str, ...]  # names of injection patterns that were seen in the input
    asked_model: str = ""  # `model` is what answered, by its own name, where something did
    provider: str = "openai"  # by the GenAI conventions; "openai" also for others who speak its API

    @property
    def billed(self) -> bool:
        """Whether the tokens are those of an answer that the provider gave to this very call."""
        return self.attempts > 0 and self.cache in ("miss", "bypass")


def tell(hooks: Iterable[Callable[[Call], None]], call: Call) -> None:
    """Hand `call` to each hook. One that fails is logged by name; the call and the other hooks go on."""
    for hook in hooks:
        try:
            hook(call)
        except Exception as error:  # a reporter must not break what it reports on
            log.warning("hook %s failed: %s", getattr(hook, "__qualname__", type(hook).__name__), type(error).__name__)
