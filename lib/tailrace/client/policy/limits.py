"""Limits of time and number, and the circuit breaker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tailrace.client import validation


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens for `open_s` when at least `min_calls` were made within `window_s` and the share `failure_rate` failed."""

    failure_rate: float = 0.5
    min_calls: int = 20
    window_s: float = 10.0
    open_s: float = 5.0

    def __post_init__(self) -> None:
        validation.positive("Breaker", failure_rate=self.failure_rate, window_s=self.window_s, open_s=self.open_s)
        validation.positive_int("Breaker", min_calls=self.min_calls)
        if self.failure_rate > 1:
            raise ValueError(f"Breaker(failure_rate={self.failure_rate!r}): expected a share, at most 1: 0.5 is half")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of time and number. `deadline_s` covers the whole call: waiting, all attempts, the stream."""

    deadline_s: float | None = None
    first_byte_s: float | None = None
    """The same until the answer begins: waiting and all attempts, but not the length of a stream. A plain answer has
    to be whole by then."""
    attempt_timeout_s: float | None = None
    """For one whole attempt; of a stream, until its first byte."""
    silence_s: float | None = None
    """Between the chunks of a stream; None: as long as an attempt may take."""
    concurrency: int | Literal["adaptive"] | None = None
    """Attempts in flight: a number, or "adaptive", which is found as TCP finds its window (`limiters.concurrency`)."""
    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    breaker: Breaker | None = field(default_factory=Breaker)
    hedge_after_s: float | None = None
    """After this long without an answer, send a second copy and take the first good answer (async client only)."""

    def __post_init__(self) -> None:
        validation.positive(
            "Limits", optional=True, deadline_s=self.deadline_s, first_byte_s=self.first_byte_s,
            attempt_timeout_s=self.attempt_timeout_s, silence_s=self.silence_s,
            requests_per_min=self.requests_per_min, tokens_per_min=self.tokens_per_min,
            hedge_after_s=self.hedge_after_s,
        )  # fmt: skip
        validation.instance("Limits", Breaker, breaker=self.breaker, optional=True)
        if self.concurrency != "adaptive":
            expected = "a whole number from 1, 'adaptive' or None"
            validation.positive_int("Limits", expected, concurrency=self.concurrency, optional=True)

    @property
    def idle_s(self) -> float | None:
        """The longest silence within a stream."""
        return self.attempt_timeout_s if self.silence_s is None else self.silence_s
