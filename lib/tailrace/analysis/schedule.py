"""Whether the load generator kept its schedule, told from the records alone."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from tailrace.analysis import quantiles

AT_LEAST: Final = 0.99
LAG_MS: Final = 10.0


def achieved(records: pd.DataFrame) -> float:
    """Return achieved over intended: the share of the schedule's rate at which requests were really sent."""
    if len(records) < 2:
        return math.nan
    intended = records["intended_ns"].to_numpy(dtype=np.int64)
    sent = intended + records["send_lag_us"].to_numpy(dtype=np.int64) * 1_000
    return float((intended.max() - intended.min()) / max(1, sent.max() - sent.min()))


def doubts(records: pd.DataFrame, at_least: float = AT_LEAST, lag_ms: float = LAG_MS) -> list[str]:
    """Return, in words, what makes the measurement doubtful; nothing is wrong with fewer than two records."""
    if len(records) < 2:
        return []
    share = achieved(records)
    lag = quantiles.exact(records["send_lag_us"].to_numpy(), ["p99"])["p99"] / 1_000
    found = []
    if share < at_least:
        found.append(f"{share:.1%} of the intended rate was sent (limit {at_least:.0%})")
    if lag > lag_ms:
        found.append(f"the load generator's send lag p99 was {lag:.1f} ms (limit {lag_ms:g} ms)")
    return found
