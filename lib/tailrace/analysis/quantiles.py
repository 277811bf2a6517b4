"""Exact quantiles by one definition: `inverted_cdf`, the smallest value that at least the share p does not exceed.

The definition always returns a value that was measured, so p99 ≤ max holds, and ranks are computed in whole
numbers, so that no rounding of 0.999 × n moves them. Percentiles are named as in profiles: "p50", "p99.9".

Source: Hyndman & Fan, Sample Quantiles in Statistical Packages (1996), definition 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

PERCENTILES: Final = ("p50", "p90", "p95", "p99", "p99.9")
CONFIDENCE: Final = 0.95

Values = npt.NDArray[Any]


@lru_cache(maxsize=256)
def share(percentile: str) -> Fraction:
    """Return the share that `percentile` stands for, exactly: "p99.9" is 999/1000; ValueError when it is none."""
    match = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)", percentile)
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError(f"{percentile!r} is not a percentile; expected p50, p95, p99.9 … above 0 and below 100")
    return Fraction(match[1]) / 100


def named(percent: float | str) -> str:
    """Return the name of a percentile given in percent or already by name: 99.9 is "p99.9"."""
    name = percent if isinstance(percent, str) else f"p{percent:.6f}".rstrip("0").rstrip(".")
    share(name)
    return name


def column(percentile: str, kind: str = "") -> str:
    """Return the column that holds `percentile`, in ms: "p99.9" is `p999_ms`; with kind "lo" `p999_lo_ms`."""
    stem = percentile.replace(".", "")
    return f"{stem}_{kind}_ms" if kind else f"{stem}_ms"


def rank(n: int, percentile: str) -> int:
    """Return the rank, from 1, of `percentile` among `n` ≥ 1 sorted values."""
    p = share(percentile)
    return max(1, -(-n * p.numerator // p.denominator))


@lru_cache(maxsize=256)
def needs(percentile: str, confidence: float = CONFIDENCE) -> int:
    """Return the least n for which both ends of the interval of `percentile` are among the values.

    The largest of n values exceeds the quantile with probability 1 - p^n, the smallest undercuts it with
    1 - (1-p)^n; each has to reach (1 + confidence) / 2. p95 needs 72, p99 368, p99.9 3,688, p99.99 36,887.
    """
    p = float(share(percentile))
    return math.ceil(math.log((1 - confidence) / 2) / math.log(max(p, 1 - p)))


def of_sorted(ordered: Values, percentiles: Sequence[str]) -> Values:
    """Return the values of `ordered` (ascending, n ≥ 1) at the ranks of `percentiles`."""
    return ordered[[rank(len(ordered), name) - 1 for name in percentiles]]


def exact(values: Values, percentiles: Sequence[str] = PERCENTILES) -> dict[str, float]:
    """Return each percentile of `values`, in their unit; NaN for all of them when there are none."""
    if not len(values):
        return dict.fromkeys(percentiles, math.nan)
    return dict(zip(percentiles, of_sorted(np.sort(values), percentiles).tolist(), strict=True))


def adjusted(ordered: Values, errors: int, percentiles: Sequence[str]) -> list[float]:
    """Return the percentiles of `ordered` (ascending) and of `errors` more values, each +∞."""
    n = len(ordered)
    ranks = [rank(n + errors, name) if n + errors else 0 for name in percentiles]
    return [math.nan if r == 0 else math.inf if r > n else float(ordered[r - 1]) for r in ranks]
