"""Percentiles and counts per window of time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tailrace.analysis import frames, groups
from tailrace.percentiles import column, named, needs, of_sorted
from tailrace.records import HIT


def windows(
    records: pd.DataFrame,
    width_s: float = 1.0,
    by: Sequence[str] = (),
    start: frames.Start = "intended",
    percentiles: Sequence[str | float] = ("p50", "p95", "p99"),
) -> pd.DataFrame:
    """Return a row per group and window that has requests: `by`, t_s, n, errors, hits, retries, p50_ms …

    t_s is the begin of the window, in seconds since the first intended start of all `records`; n counts successes, and
    a percentile is NaN where they are fewer than it needs. A window without requests has no row.
    """
    if width_s <= 0:
        raise ValueError(f"width_s: found {width_s}, expected above 0")
    names = [named(p) for p in percentiles]
    began = records["intended_ns"].min() if len(records) else 0
    number = (records["intended_ns"].to_numpy(dtype=np.int64) - began) // round(width_s * 1e9)
    numbered = records.assign(window=number) if len(records) else records.assign(window=np.zeros(0, dtype="int64"))
    grouped = groups.group(numbered, [*by, "window"])
    order = grouped.order
    values, failures = frames.elapsed_us(records, start)[order], frames.failed(records)[order]
    hits = (records["outcome"] == HIT).to_numpy()[order]
    retries = np.maximum(records["attempts"].to_numpy()[order] - 1, 0)
    rows = []
    for part in grouped.slices():
        ordered = np.sort(values[part][~failures[part]])
        row = {"n": len(ordered), "errors": int(failures[part].sum()), "hits": int(hits[part].sum())}
        row["retries"] = int(retries[part].sum())
        enough = [name for name in names if len(ordered) >= needs(name)]
        latencies_us = of_sorted(ordered, enough).tolist() if enough else []
        rows.append(row | {column(name): v / 1_000 for name, v in zip(enough, latencies_us, strict=True)})
    columns = ["n", "errors", "hits", "retries", *(column(name) for name in names)]
    table = pd.concat([grouped.keys, pd.DataFrame(rows, columns=columns)], axis=1)
    table.insert(len(by), "t_s", table.pop("window").astype("float64") * width_s)
    return table.astype({column(name): "float64" for name in names})
