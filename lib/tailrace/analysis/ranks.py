"""The Wilcoxon signed-rank test, with its estimate and interval.

Source: Hollander, Wolfe & Chicken, Nonparametric Statistical Methods (2014), 3.1–3.3: the exact null distribution,
the Hodges–Lehmann estimate and Tukey's interval from the Walsh averages.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

EXACT_UP_TO: Final = 60
"""With more pairs, or with ties, the normal approximation is used."""

Floats = npt.NDArray[np.float64]


def signed_rank(differences: Floats) -> float:
    """Return the two-sided p-value of no shift; zeros are dropped, and without other differences it is 1."""
    d = differences[differences != 0]
    n = len(d)
    if n == 0:
        return 1.0
    ranks, ties = _midranks(np.abs(d))
    positive = float(ranks[d > 0].sum())
    if n <= EXACT_UP_TO and not ties:
        cumulative = np.cumsum(null(n))
        below = cumulative[round(positive)]
        above = 1 - (cumulative[round(positive) - 1] if positive >= 1 else 0.0)
        return min(1.0, 2 * float(min(below, above)))
    variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48
    z = (abs(positive - n * (n + 1) / 4) - 0.5) / math.sqrt(variance)
    return min(1.0, 2 * NormalDist().cdf(-max(z, 0.0)))


def null(n: int) -> Floats:
    """Return the probabilities of the sums 0 … n(n+1)/2 of signed ranks of n pairs, under no shift."""
    ways = np.zeros(n * (n + 1) // 2 + 1)
    ways[0] = 1.0
    for rank in range(1, n + 1):
        ways[rank:] = (ways[rank:] + ways[:-rank]) / 2
        ways[:rank] /= 2
    return ways


def shift(differences: Floats, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return the Hodges–Lehmann estimate of the shift, and the ends of its interval; NaN without differences.

    The ends are infinite when there are too few pairs for that confidence.
    """
    n = len(differences)
    if n == 0:
        return math.nan, math.nan, math.nan
    i, j = np.triu_indices(n)
    walsh = np.sort((differences[i] + differences[j]) / 2)
    tail = (1 - confidence) / 2
    if n <= EXACT_UP_TO:
        # The largest c with P(T < c) within the tail: that many Walsh averages are cut off at each end.
        cut = int(np.searchsorted(np.cumsum(null(n)), tail, side="right"))
    else:
        spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        cut = max(0, math.floor(n * (n + 1) / 4 + NormalDist().inv_cdf(tail) * spread))
    if cut == 0:
        return float(np.median(walsh)), -math.inf, math.inf
    return float(np.median(walsh)), float(walsh[cut - 1]), float(walsh[-cut])


def holm(p_values: Floats) -> Floats:
    """Return the p-values adjusted for multiple comparisons. Source: Holm (1979)."""
    m = len(p_values)
    order = np.argsort(p_values)
    rising = np.maximum.accumulate(p_values[order] * (m - np.arange(m)))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(rising, 1.0)
    return adjusted


def _midranks(values: Floats) -> tuple[Floats, float]:
    """Return ranks from 1, where ties share their mean, and the sum of t³ - t over the ties."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place], float((counts**3 - counts).sum())
