"""Latency of responses: time to first token, then time per token, both lognormal, from a seed."""

from __future__ import annotations

import math
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)]
Sigma = Annotated[float, Field(ge=0, le=3, allow_inf_nan=False)]


class Latency(BaseModel):
    """Medians in seconds, and the standard deviations of their logarithms."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ttft_s: Seconds = 0.05
    ttft_sigma: Sigma = 0.35
    token_s: Seconds = 0.001
    token_sigma: Sigma = 0.2


class Pace:
    """Two seeded sequences of waits: request k gets the k-th time to first token, whatever its content."""

    def __init__(self, latency: Latency, seed: int) -> None:
        self.latency = latency
        self._first = Random(f"{seed}:first")
        self._token = Random(f"{seed}:token")

    def first_s(self) -> float:
        """Draw the time to the first token."""
        return _lognormal(self._first, self.latency.ttft_s, self.latency.ttft_sigma)

    def gaps_s(self, tokens: int) -> list[float]:
        """Draw the waits between `tokens` tokens: one fewer than there are tokens."""
        median, sigma = self.latency.token_s, self.latency.token_sigma
        if median == 0:
            return [0.0] * max(0, tokens - 1)
        return [_lognormal(self._token, median, sigma) for _ in range(tokens - 1)]


def _lognormal(random: Random, median_s: float, sigma: float) -> float:
    return median_s * math.exp(sigma * random.gauss(0.0, 1.0)) if median_s else 0.0
