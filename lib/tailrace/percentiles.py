"""Percentiles: their names, their exact ranks, and the one definition of their values.

A percentile is named as in profiles: "p50", "p99.9". The definition is `inverted_cdf`, the smallest value that at
least the share p does not exceed. It always returns a value that was measured, so p99 ≤ max holds. Ranks are
computed in whole numbers, so that no rounding of 0.999 × n moves them.

Source: Hyndman & Fan, Sample Quantiles in Statistical Packages (1996), definition 1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # the service has no NumPy, and a check of names should not wait for it
    import numpy.typing as npt

    Values = npt.NDArray[Any]

PERCENTILES: Final = ("p50", "p90", "p95", "p99", "p99.9")
"""The percentiles of tables and summaries."""
CONFIDENCE: Final = 0.95


@lru_cache(maxsize=256)
def share(percentile: str) -> Fraction:
    """Return the share that `percentile` stands for, exactly: "p99.9" is 999/1000; ValueError when it is none."""
    match = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)", percentile)
    if match is None or not 0 < float(match[1]) < 100:
        raise ValueError(f"{percentile!r} is not a percentile; expected p50, p95, p99.9 … above 0 and below 100")
    return Fraction(match[1]) / 100


def named(percent: float | str) -> str:
    """Return the name of a percentile in percent, or of a name: 99.9 is "p99.9". ValueError when it is none."""
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


def inverted_cdf(values: Values, percentiles: Sequence[str] = PERCENTILES) -> dict[str, float]:
    """Return each percentile of `values`, which need not be sorted; NaN for all when there are no values."""
    import numpy as np

    n = len(values)
    if not n:
        return dict.fromkeys(percentiles, math.nan)
    places = [rank(n, name) - 1 for name in percentiles]
    return dict(zip(percentiles, np.partition(values, places)[places].tolist(), strict=True))


def of_sorted(ordered: Values, percentiles: Sequence[str]) -> Values:
    """Return the values of `ordered` (ascending, n ≥ 1) at the ranks of `percentiles`."""
    return ordered[[rank(len(ordered), name) - 1 for name in percentiles]]


def with_failures(ordered: Values, failures: int, percentiles: Sequence[str]) -> list[float]:
    """Return the percentiles of `ordered` (ascending) together with `failures` more values, each +∞."""
    n = len(ordered)
    ranks = [rank(n + failures, name) if n + failures else 0 for name in percentiles]
    return [math.nan if r == 0 else math.inf if r > n else float(ordered[r - 1]) for r in ranks]
