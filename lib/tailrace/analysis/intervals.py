"""Confidence intervals of percentiles that remain valid under autocorrelation.

The textbook interval takes order statistics by the binomial law and assumes that requests are independent.
They are not: one stall makes a hundred slow requests. Here the variance of the share of requests beyond the
percentile is measured over batches of time. Its ratio to the binomial variance is the *design effect*, and n / effect
is the number of independent requests for which the interval is computed.

Sources: David & Nagaraja, Order Statistics (2003), 7.1; Kish, Survey Sampling (1965), 8.2 (design effect) and
6.3 (variance of a ratio over unequal clusters); Alexopoulos & Seila, Output Data Analysis (1998) (batch means);
Abramowitz & Stegun 26.7.5 (Student's t from the normal quantile).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tailrace import percentiles

BATCHES: Final = 64
"""Batches of equal time; they are joined in pairs to 32 and to 16, and the largest of the three effects counts."""
LEAST_EPISODES: Final = 8
"""With fewer slow episodes an interval is called unreliable; `study.coverage` measures why."""


def ranks(n: int, percentile: str, effect: float = 1.0, confidence: float = percentiles.CONFIDENCE) -> tuple[int, int]:
    """Return the ranks, from 1, of the two order statistics that enclose the percentile.

    They are those of n / effect independent values, scaled up to n. The widest are (1, n), and the estimate itself is
    always within.
    """
    if effect == 1.0 and n < percentiles.needs(percentile, confidence):
        return 1, n
    independent = max(1, int(n / effect))
    low, high = binomial_bounds(independent, float(percentiles.share(percentile)), confidence)
    estimate = percentiles.rank(n, percentile)
    return min(estimate, max(1, low * n // independent)), max(estimate, min(n, -(-(high + 1) * n // independent)))


def binomial_bounds(n: int, p: float, confidence: float) -> tuple[int, int]:
    """Return the (1 ± confidence) / 2 quantiles of the binomial law of n and p."""
    spread = 12 * (1 + math.sqrt(n * p * (1 - p)))  # what lies beyond is negligible at any confidence in use
    first, last = max(0, int(n * p - spread)), min(n, math.ceil(n * p + spread))
    k = np.arange(first, last)
    steps = np.log((n - k) / (k + 1)) + math.log(p / (1 - p))
    logs = np.concatenate(([0.0], np.cumsum(steps)))
    cumulative = np.cumsum(np.exp(logs - logs.max()))
    tail = (1 - confidence) / 2
    low, high = np.searchsorted(cumulative / cumulative[-1], (tail, 1 - tail))
    return first + int(low), first + int(high)


def batched(times: npt.NDArray[np.int64], batches: int = BATCHES) -> npt.NDArray[np.int64]:
    """Return the batch of each time; batches are spans of equal length between the first and the last time."""
    since = times - times.min()
    numbers: npt.NDArray[np.int64] = since * batches // (int(since.max()) + 1)  # fits 64 bits for up to 4 years in ns
    return numbers


def effects(table: npt.NDArray[Any], confidence: float = percentiles.CONFIDENCE) -> npt.NDArray[np.float64]:
    """Return the design effect of each percentile, never below 1.

    `table` has a row per batch of time, in order, and a column per interval between the percentiles: the number of
    requests of the batch in it. Column 0 is below the first percentile.
    """
    beyond = table[:, ::-1].cumsum(axis=1)[:, ::-1]  # column j: requests above the j-th percentile; column 0: all
    widest = np.ones(table.shape[1] - 1)
    while len(beyond) >= BATCHES // 4:
        widest = np.maximum(widest, effect(beyond, confidence))
        beyond = beyond.reshape(-1, 2, beyond.shape[1]).sum(axis=1)
    return widest


def effect(beyond: npt.NDArray[Any], confidence: float = percentiles.CONFIDENCE) -> npt.NDArray[np.float64]:
    """Return the design effect of each column of `beyond` after the first; it may be below 1.

    `beyond` has a row per batch: its requests, and of them those beyond each percentile.
    """
    sizes, exceeding = beyond[:, :1].astype(float), beyond[:, 1:].astype(float)
    n, b = sizes.sum(), len(sizes)
    p = exceeding.sum(axis=0) / n
    variance = b / (b - 1) * ((exceeding - p * sizes) ** 2).sum(axis=0) / n
    binomial = p * (1 - p)
    ratio = np.divide(variance, binomial, out=np.ones_like(variance), where=binomial > 0)
    inflated: npt.NDArray[np.float64] = ratio * _student(b - 1, confidence) ** 2
    return inflated


def of_share(hits: int, n: int, effect: float, confidence: float = percentiles.CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the share `hits` / `n`, as of n / effect independent values.

    Source: Wilson, Probable Inference (1927): it lies within 0 and 1, also when all values are hits.
    """
    independent, share = max(1.0, n / effect), hits / n
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    middle = (share + z2 / (2 * independent)) / (1 + z2 / independent)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * independent)) / independent) / (1 + z2 / independent)
    return max(0.0, middle - half), min(1.0, middle + half)


def of_total(amounts: npt.NDArray[Any], confidence: float = percentiles.CONFIDENCE) -> tuple[float, float]:
    """Return the interval of a sum over time; `amounts` has the part of each of `BATCHES` batches of equal time.

    The batches are joined as for `effects`, and the widest interval counts; it is never below 0.
    """
    total, widest = float(amounts.sum()), 0.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    while (b := len(amounts)) >= BATCHES // 4:
        widest = max(widest, z * _student(b - 1, confidence) * math.sqrt(b) * float(amounts.std(ddof=1)))
        amounts = amounts.reshape(-1, 2).sum(axis=1)
    return max(0.0, total - widest), total + widest


def _student(freedom: int, confidence: float) -> float:
    """Return the ratio of Student's quantile to the normal one."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return t / z


def episodes(times: npt.NDArray[np.int64], slow: npt.NDArray[np.bool_]) -> int:
    """Return how many separate episodes the slow requests form.

    Two slow requests belong to one episode when they are closer together than they would be on average if slow requests
    were spread evenly over the whole time.
    """
    slow_times = np.sort(times[slow])
    if not len(slow_times):
        return 0
    span = int(times.max()) - int(times.min())
    return 1 + int((np.diff(slow_times) > span / len(slow_times)).sum())


def cells(values: npt.NDArray[Any], thresholds: Sequence[Any], batch: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the table for `effects`: how many `values` each batch has in each interval between rising `thresholds`."""
    width = len(thresholds) + 1
    interval = np.searchsorted(np.asarray(thresholds, dtype=values.dtype), values, side="left")
    counts = np.bincount(batch * width + interval, minlength=BATCHES * width)
    return counts.reshape(BATCHES, width)
