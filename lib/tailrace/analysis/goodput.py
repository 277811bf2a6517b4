"""Goodput: how many requests met every limit, as a share and per second.

A request is good when it succeeded and kept all limits: DistServe's definition of goodput, which serving benchmarks
share. The interval of the share is as wide as bad requests cluster in time, by the same batch means as percentiles.

Source: Zhong et al., DistServe (2024), 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from tailrace import measures
from tailrace.analysis import frames, groups, intervals
from tailrace.percentiles import CONFIDENCE

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batched:
    """A group in batches of equal time: `requests` and `good` ones of each, and the time between its first and last."""

    requests: Counts
    good: Counts
    span_ns: int

    def row(self, confidence: float = CONFIDENCE) -> dict[str, float]:
        """Return the columns of `goodput`."""
        n, good = int(self.requests.sum()), int(self.good.sum())
        if not n:
            return {"n": 0, "good": 0, "share": math.nan, "share_lo": math.nan, "share_hi": math.nan, "rps": math.nan}
        bad = self.requests - self.good
        effect = float(intervals.effects(np.stack([self.good, bad], axis=1), confidence)[0])
        low, high = intervals.of_share(good, n, effect, confidence)
        seconds = self.span_ns / 1e9 * n / (n - 1) if n > 1 else math.nan  # n starts have n - 1 gaps, and one after
        return {"n": n, "good": good, "share": good / n, "share_lo": low, "share_hi": high, "rps": good / seconds}


def goodput(
    records: pd.DataFrame,
    limits_ms: Mapping[str, float],
    by: Sequence[str] = (),
    start: frames.Start = "intended",
) -> pd.DataFrame:
    """Return a row per group: `by`, n, good, share, share_lo, share_hi, rps.

    `limits_ms` maps measures to limits. n counts the requests that the limits are for, failures included: with a limit
    of TTFT or TPOT these are the streams. rps is the number of good ones per second of the schedule. A stream whose
    tokens were not counted does not keep a limit of TPOT; one of a single token keeps any. Without requests, n is 0 and
    the rest NaN.
    """
    records = records[measures.eligible(records, limits_ms)]
    good = measures.good(records, limits_ms, start)
    grouped = groups.group(records, by)
    times, good = records["intended_ns"].to_numpy(dtype=np.int64)[grouped.order], good[grouped.order]
    return tabulated(grouped.keys, [_batched(times[part], good[part]) for part in grouped.slices()])


def tabulated(keys: pd.DataFrame, of: Sequence[Batched]) -> pd.DataFrame:
    """Return `keys` and the columns of `goodput`: a row per group, in their order."""
    columns = ["n", "good", "share", "share_lo", "share_hi", "rps"]
    table = pd.DataFrame([batched.row() for batched in of], columns=columns)
    return pd.concat([keys, table.astype({"n": "int64", "good": "int64"})], axis=1)


def _batched(times: Counts, good: npt.NDArray[np.bool_]) -> Batched:
    if not len(times):
        return Batched(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    batch = intervals.batched(times)
    requests, kept = (np.bincount(of, minlength=intervals.BATCHES) for of in (batch, batch[good]))
    return Batched(requests, kept, int(times.max() - times.min()))
