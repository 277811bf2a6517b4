"""Lengths of prompts and answers: distributions that are drawn by number, without state."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_MASK = (1 << 64) - 1
_NORMAL = NormalDist()


def uniform(seed: int, n: int, salt: int) -> float:
    """Return a number in [0, 1) for place `n`, the same for the same arguments (splitmix64, Steele et al. 2014)."""
    z = (seed * 0xD1B54A32D192ED03 + n * 0x9E3779B97F4A7C15 + salt * 0x8CB92BA72F3D8DD7 + 0x632BE59BD9B4E019) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Lengths:
    """A distribution of lengths in tokens, bounded on both sides."""

    law: Literal["fixed", "uniform", "lognormal", "exponential"]
    mean: Annotated[float, Field(ge=0)]
    """For "lognormal": the median."""
    spread: Annotated[float, Field(ge=0)] = 0.0
    """"uniform": half the width; "lognormal": the standard deviation of the logarithm."""
    least: Annotated[int, Field(ge=0)] = 1
    most: Annotated[int, Field(ge=0)] = 32_768

    def draw(self, at: float) -> int:
        """Return the length at the quantile `at`, in [0, 1)."""
        return min(self.most, max(self.least, round(self._quantile(at))))

    def _quantile(self, at: float) -> float:
        if self.law == "uniform":
            return self.mean + (2 * at - 1) * self.spread
        if self.law == "exponential":
            return -self.mean * math.log1p(-at)
        if self.law == "lognormal":
            return self.mean * math.exp(self.spread * _NORMAL.inv_cdf(min(max(at, 1e-12), 1 - 1e-12)))
        return self.mean


def fixed(tokens: int) -> Lengths:
    """Return one length for all."""
    return Lengths("fixed", tokens)


def lognormal(median: float, sigma: float, least: int = 1, most: int = 32_768) -> Lengths:
    """Return a distribution of mostly short and a few very long texts, as in production traces."""
    return Lengths("lognormal", median, sigma, least, most)
