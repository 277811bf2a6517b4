"""Service levels: Apdex, the share within a limit, and the share of the error budget that is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tailrace.analysis import frames, groups


def levels(
    records: pd.DataFrame,
    *,
    apdex_ms: float,
    limit_ms: float,
    error_rate: float,
    by: Sequence[str] = (),
    start: frames.Start = "intended",
) -> pd.DataFrame:
    """Return a row per group: n (requests, failures included), apdex, within, within_rps, budget_spent.

    apdex: (satisfied + tolerating / 2) / n, where satisfied is within `apdex_ms` and tolerating within four times
    that; a failure is neither. within: the share of all requests that succeeded within `limit_ms`; within_rps: their
    number per second of the schedule. budget_spent: failures over those that `error_rate` allows; above 1 the budget is
    overspent. Without requests everything is NaN. Source: Apdex Technical Specification 1.1 (2007).
    """
    grouped = groups.group(records, by)
    took_ms = frames.elapsed_us(records, start)[grouped.order] / 1_000
    failed = frames.failed(records)[grouped.order]
    at = records["intended_ns"].to_numpy(dtype=np.int64)[grouped.order]
    rows = []
    for part in grouped.slices():
        n = part.stop - part.start
        good = took_ms[part][~failed[part]]
        satisfied, tolerating = int((good <= apdex_ms).sum()), int((good <= 4 * apdex_ms).sum())
        within = int((good <= limit_ms).sum())
        rows.append(
            {
                "n": n,
                "apdex": (satisfied + tolerating) / 2 / n if n else math.nan,
                "within": within / n if n else math.nan,
                "within_rps": within / schedule_s(at[part]) if n > 1 else math.nan,
                "budget_spent": spent(int(failed[part].sum()), n, error_rate),
            }
        )
    return pd.concat([grouped.keys, pd.DataFrame(rows)], axis=1)


def schedule_s(times_ns: np.ndarray) -> float:
    """Return the length of a schedule of n ≥ 2 starts: its n - 1 gaps, and one more after the last."""
    n = len(times_ns)
    return float(times_ns.max() - times_ns.min()) / 1e9 * n / (n - 1)


def spent(errors: int, n: int, error_rate: float) -> float:
    """Return the share of the error budget that `errors` of `n` requests spend; ∞ when none is allowed."""
    if n == 0:
        return math.nan
    if error_rate == 0:
        return math.inf if errors else 0.0
    return errors / (n * error_rate)
