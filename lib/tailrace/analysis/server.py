"""What a server said of itself while a load ran: its gauges, and its own histograms over that time.

The rows are those of `load.beside.ServerRow`: t_ns, colour, measure, bound_ms, value, why. Histograms are cumulative,
so what was counted in a time is the difference of two readings; over several instances they are added up.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from tailrace.numbers import number, percent
from tailrace.server_metrics import GAUGES, TIMES, Histogram

ROUND_NS: Final = 300_000_000
"""Readings that are closer than this belong together."""
PERCENTILES: Final = ("p50", "p95", "p99")


def histograms(rows: pd.DataFrame, measure: str, most: int = 1_000) -> list[tuple[int, Histogram]]:
    """Return the histogram of `measure` at each reading, over all colours, as (t_ns, histogram); thinned to `most`."""
    own = rows[rows["measure"] == measure].sort_values("t_ns", kind="stable")
    times = np.sort(own["t_ns"].unique())
    times = times[np.append(np.diff(times) > ROUND_NS, True)]  # two colours are read one after the other
    by_colour = [colour for _, colour in own.groupby("colour")]
    return [(int(t_ns), _sum([_at(colour, t_ns) for colour in by_colour])) for t_ns in times[:: len(times) // most + 1]]


def over(rows: pd.DataFrame, measure: str) -> Histogram:
    """Return what the histogram of `measure` counted from the first reading to the last; empty without two."""
    own = rows[rows["measure"] == measure]
    counted = []
    for _, colour in own.groupby("colour"):
        first, last = (_buckets(colour[colour["t_ns"] == at]) for at in (colour["t_ns"].min(), colour["t_ns"].max()))
        counted.append(last.since(first) if last is not first else Histogram())
    return _sum(counted)


def document(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the gauges (mean and max) and the percentiles of each histogram, as the bounds of their bucket in ms.

    `why` says why there is nothing.
    """
    told = rows[rows["measure"] != ""]
    if told.empty:
        return {"why": str(rows["why"].iloc[-1]) if len(rows) else "it was not read"}
    content: dict[str, Any] = {}
    for name in GAUGES:
        values = told.loc[told["measure"] == name, "value"]
        if len(values):
            content[name] = {"mean": float(values.mean()), "max": float(values.max())}
    for name in TIMES:
        if (counted := over(told, name)).count:
            content[f"{name}_ms"] = {"n": counted.count} | {p: list(counted.percentile_ms(p)) for p in PERCENTILES}
    return content


def words(content: dict[str, Any]) -> str:
    """Write a document as one line: "running up to 12, waiting up to 30; ttft p50 25–50 ms, p95 50–100 ms"."""
    if "why" in content:
        return f"tells nothing: {content['why']}"
    gauges = [_gauge(name, content[name]) for name in GAUGES if name in content]
    times = []
    for name in TIMES:
        if row := content.get(f"{name}_ms"):
            bounds = (f"{p} {number(row[p][0])}–{number(row[p][1])} ms" for p in PERCENTILES[:2])
            times.append(f"{name} {', '.join(bounds)} (n {row['n']:,})")
    return "; ".join([", ".join(gauges), *times] if gauges else times)


def _gauge(name: str, row: dict[str, float]) -> str:
    write = percent if name == "cache_use" else number
    return f"{name.replace('_', ' ')} {write(row['mean'])}, at most {write(row['max'])}"


def _at(rows: pd.DataFrame, t_ns: int) -> Histogram:
    """Return the latest histogram of one colour at a time; before its first reading, that one: nothing was counted."""
    until = rows["t_ns"] <= t_ns
    return _buckets(rows[rows["t_ns"] == (rows.loc[until, "t_ns"].max() if until.any() else rows["t_ns"].min())])


def _buckets(rows: pd.DataFrame) -> Histogram:
    return Histogram(tuple(sorted(zip(rows["bound_ms"], rows["value"], strict=True))))


def _sum(parts: list[Histogram]) -> Histogram:
    total: dict[float, float] = {}
    for part in parts:
        for bound, count in part.buckets:
            total[bound] = total.get(bound, 0.0) + count
    return Histogram(tuple(sorted(total.items())))
