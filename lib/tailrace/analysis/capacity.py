"""Latency over the offered rate, and the highest rate that is within the limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tailrace.analysis.latency import latency
from tailrace.percentiles import column


def rates(
    records: pd.DataFrame, by: str = "", slices: int = 12, percentiles: Sequence[str] = ("p50", "p95", "p99")
) -> pd.DataFrame:
    """Return a row per value of `by`, or per slice of equal time: rate_rps, success_rps, error_rate, latency columns.

    rate_rps counts intended starts, success_rps successes. The rows are sorted by rate_rps.
    """
    if not len(records):
        return pd.DataFrame({name: [] for name in ("rate_rps", "success_rps", "error_rate")})
    at = records["intended_ns"].to_numpy(dtype=np.int64)
    width = (int(at.max()) - int(at.min())) / slices
    labelled = records if by else records.assign(slice=((at - at.min()) / (width + 1)).astype(np.int64))
    name = by or "slice"
    table = latency(labelled, by=(name,), percentiles=percentiles)
    spans = labelled.groupby(name, sort=True)["intended_ns"].agg(["min", "max", "size"]).reset_index()
    # n starts span n - 1 gaps; a slice of a ramp has its full width
    gaps = (spans["size"] - 1).clip(lower=1) / spans["size"]
    seconds = (spans["max"] - spans["min"]).clip(lower=1) / 1e9 / gaps if by else width / 1e9
    requests = table["n"] + table["errors"]
    table.insert(1, "rate_rps", requests / seconds)
    table.insert(2, "success_rps", table["n"] / seconds)
    table.insert(3, "error_rate", table["errors"] / requests)
    return table.sort_values("rate_rps", kind="stable", ignore_index=True)


def knee(table: pd.DataFrame, limit_ms: float, percentile: str = "p95", error_rate: float = 0.01) -> float:
    """Return the highest rate up to which every rate was within the limits; NaN when the lowest was not."""
    latency_ms = column(percentile)
    highest = math.nan
    for row in table.to_dict("records"):
        if math.isnan(row[latency_ms]):
            continue
        if row[latency_ms] > limit_ms or row["error_rate"] > error_rate:
            break
        highest = row["rate_rps"]
    return highest
