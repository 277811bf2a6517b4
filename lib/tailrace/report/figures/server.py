"""What the server did, by its own metrics: requests running and waiting, its cache, and its own time to first token."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import percentiles
from tailrace.analysis import server as server_metrics
from tailrace.numbers import number, percent
from tailrace.report import style
from tailrace.report.figures import time

WINDOWS = 60
"""Windows of time, at most, for which the histograms are drawn."""
NAMES = {"ttft": "time to first token", "latency": "whole answer"}


def server(records: pd.DataFrame, server: pd.DataFrame | None = None, marks: pd.DataFrame | None = None) -> Figure:
    """Draw gauges over the time of `records`; below, its own histogram's p50 and p95 beside the client's."""
    if records.empty:
        return style.nothing("What the server did: no requests were recorded.")
    origin = int(records["intended_ns"].min())
    end = max(float(time.seconds(records["intended_ns"].max(), origin)), 0.1)
    rows = _within(server, origin, end)
    if rows.empty or not (rows["measure"] != "").any():
        why = rows["why"].iloc[-1] if len(rows) else "no metrics page was read: n/a without service.metrics"
        return style.nothing(f"What the server did is not known: {str(why)[:120]}")
    figure, axes = style.grid(2, 1, height_in=4.3, sharex=True)
    gauges, times = axes[:, 0]
    facts = [*_gauges(gauges, rows), _times(times, rows, records, origin), *_unread(gauges, rows)]
    time.shade([gauges, times], marks, origin, end)
    times.set_xlim(0, end)
    times.set_xlabel("time since the first request, s")
    if any(one.get_legend_handles_labels()[0] for one in figure.axes):
        figure.legend(loc="outside lower left", ncols=4)
    return style.described(figure, f"By the server's own metrics over {number(end)} s: " + "; ".join(facts) + ".")


def _within(server: pd.DataFrame | None, origin: int, end_s: float) -> pd.DataFrame:
    """Return the samples of the drawn time and two seconds around it, with `t_s`."""
    if server is None or server.empty:
        return pd.DataFrame()
    rows = server.assign(t_s=time.seconds(server["t_ns"], origin))
    return rows[(rows["t_s"] >= -2) & (rows["t_s"] <= end_s + 2)]


def _gauges(axes: Axes, rows: pd.DataFrame) -> list[str]:
    """Draw running and waiting requests per colour and, on the right, the share of the cache in use."""
    facts = []
    for name, dashes in (("running", "-"), ("waiting", (0, (2, 1.5)))):
        for colour, own in rows[rows["measure"] == name].groupby("colour"):
            label = f"{name} on {colour}" if colour else name
            shade = style.COLOURS.get(str(colour), style.INK) if colour else style.INK
            axes.plot(own["t_s"], own["value"], drawstyle="steps-post", linestyle=dashes, color=shade, label=label)
            facts.append(f"{label} at most {number(own['value'].max())}, {number(own['value'].mean())} on average")
    axes.set_ylabel("requests")
    axes.yaxis.set_major_formatter(style.plain)
    axes.set_ylim(0)
    cache = rows[rows["measure"] == "cache_use"]
    if len(cache):
        right = axes.twinx()
        right.grid(visible=False)
        right.plot(cache["t_s"], cache["value"], color=style.TEAK, linewidth=1.1, label="key-value cache")
        right.set_ylim(0, 1)
        right.yaxis.set_major_formatter(lambda share, _: percent(share))
        right.set_ylabel("cache in use")
        facts.append(f"its key-value cache at most {percent(float(cache['value'].max()))} full")
    return facts


def _unread(axes: Axes, rows: pd.DataFrame) -> list[str]:
    """Mark the moments at which a page that had been read before could not be: an overloaded server has no time."""
    first = rows["colour"].map(rows[rows["measure"] != ""].groupby("colour")["t_s"].min())
    unread = rows[(rows["measure"] == "") & (rows["t_s"] > first)]
    if unread.empty:
        return []
    axes.plot(unread["t_s"], [0.03] * len(unread), "x", color=style.FAILURE, markersize=5, clip_on=False,
              transform=axes.get_xaxis_transform(), label=f"not read: {len(unread):,}")  # fmt: skip
    return [f"{len(unread):,} of its readings failed, the last one: {unread['why'].iloc[-1]}"]


def _times(axes: Axes, rows: pd.DataFrame, records: pd.DataFrame, origin: int) -> str:
    """Draw the buckets that hold p50 and p95 of each window, and the client's percentiles as lines."""
    measure = next((name for name in NAMES if (rows["measure"] == name).any()), "")
    style.milliseconds(axes, label=f"{NAMES.get(measure, 'time')}, ms")
    if not measure:
        axes.text(0.5, 0.5, "the server has no histogram of times", transform=axes.transAxes, ha="center",
                  color=style.MUTED)  # fmt: skip
        return "it has no histogram of times"
    readings = server_metrics.histograms(rows, measure, WINDOWS)
    at = [float(time.seconds(t_ns, origin)) for t_ns, _ in readings]
    for name, shade in (("p50", style.PERCENTILE["p50"]), ("p95", style.PERCENTILE["p95"])):
        label: str | None = f"{name} in the server's own bucket"
        for (start, stop), ((_, before), (_, after)) in zip(pairwise(at), pairwise(readings), strict=True):
            low, high = after.since(before).percentile_ms(name)
            if high == high:
                high = high if math.isfinite(high) else low * 2
                axes.fill_between([start, stop], [max(low, 0.1)] * 2, [high] * 2, color=shade, alpha=0.35, linewidth=0,
                                  label=label)  # fmt: skip
                label = None
    _clients(axes, records, origin, measure)
    whole = server_metrics.over(rows, measure)
    bounds = {name: whole.percentile_ms(name) for name in ("p50", "p95")}
    words = ", ".join(f"{name} {number(low)}–{number(high)} ms" for name, (low, high) in bounds.items())
    return f"its own {NAMES[measure]} over {whole.count:,} requests: {words}"


def _clients(axes: Axes, records: pd.DataFrame, origin: int, measure: str) -> None:
    """Draw the same times as the client measured them, per second."""
    column = records["ttfc_us"] if measure == "ttft" else records["service_us"]
    good = (records["outcome"] != "error") & (column >= 0)
    at = time.seconds(records.loc[good, "intended_ns"], origin)
    windows = pd.Series(column[good].to_numpy() / 1e3).groupby(np.floor(at))
    for name in ("p50", "p95"):
        values = windows.agg(lambda ms, name=name: percentiles.inverted_cdf(ms.to_numpy(), [name])[name])
        axes.plot(
            values.index + 0.5, values, color=style.PERCENTILE[name], linewidth=1.2, label=f"{name} of the client"
        )
