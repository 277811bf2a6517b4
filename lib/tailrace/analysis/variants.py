"""Several variants side by side: success, latency, upstream calls, cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tailrace.analysis import frames
from tailrace.analysis.latency import latency
from tailrace.records import HIT


def variants(
    records: pd.DataFrame, by: str = "phase", percentiles: Sequence[str] = ("p50", "p95", "p99")
) -> pd.DataFrame:
    """Return a row per value of `by`: requests, success_rate, hit_rate, upstream_calls, calls_per_request, cost_usd.

    The columns of `latency` follow, from the intended start. cost_usd is NaN where a price is not known.
    """
    known = records["cost_microusd"].to_numpy(dtype=np.int64)
    counted = pd.DataFrame(
        {
            by: records[by],
            "requests": 1,
            "successes": ~frames.failed(records),
            "hits": (records["outcome"] == HIT).to_numpy(),
            "upstream_calls": records["attempts"].to_numpy(dtype=np.int64),
            "cost": np.maximum(known, 0),
            "unknown": known < 0,
        }
    )
    sums = counted.groupby(by, sort=True).sum().reset_index()
    table = pd.DataFrame(
        {
            by: sums[by],
            "requests": sums["requests"],
            "success_rate": sums["successes"] / sums["requests"],
            "hit_rate": sums["hits"] / sums["requests"],
            "upstream_calls": sums["upstream_calls"],
            "calls_per_request": sums["upstream_calls"] / sums["requests"],
            "cost_usd": (sums["cost"] / 1e6).where(sums["unknown"] == 0),
        }
    )
    return table.merge(latency(records, by=(by,), percentiles=percentiles), on=by)
