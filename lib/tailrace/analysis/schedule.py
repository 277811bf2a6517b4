"""Whether the load generator kept its schedule, told from the records alone."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd


def achieved(records: pd.DataFrame) -> float:
    """Return achieved over intended: the share of the schedule's rate at which requests were really sent."""
    if len(records) < 2:
        return math.nan
    intended = records["intended_ns"].to_numpy(dtype=np.int64)
    sent = intended + records["send_lag_us"].to_numpy(dtype=np.int64) * 1_000
    return float((intended.max() - intended.min()) / max(1, sent.max() - sent.min()))
