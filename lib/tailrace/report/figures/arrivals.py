"""Intended and achieved rate, and the lag of the load generator: whether to believe the measurement."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tailrace import percentiles
from tailrace.analysis import schedule
from tailrace.numbers import number
from tailrace.report import style
from tailrace.report.figures import time


def arrivals(records: pd.DataFrame, *, width_s: float = 1.0, lag_limit_ms: float | None = None) -> Figure:
    """Draw requests per second as scheduled and as sent; below it how late they were sent, p50, p99 and largest.

    The limit of the lag that is drawn is that of a valid measurement, unless `lag_limit_ms` replaces it.
    """
    if records.empty:
        return style.nothing("Arrivals: no requests were recorded.")
    intended = records["intended_ns"].to_numpy(dtype=np.int64)
    lag_us = records["send_lag_us"].to_numpy(dtype=np.int64)
    if lag_limit_ms is None and (generator := schedule.generator(records)):
        lag_limit_ms = generator.send_lag_limit_ms()
    origin = int(intended.min())
    at, sent = time.seconds(intended, origin), time.seconds(intended + lag_us * 1_000, origin)
    edges = np.arange(0, max(at.max(), sent.max()) + width_s, width_s)
    figure, axes = style.grid(2, 1, height_in=3.9, sharex=True, height_ratios=(1.3, 1))
    rates, lags = axes[:, 0]
    scheduled, achieved = (np.histogram(t, edges)[0] / time.lengths(edges, float(sent.max())) for t in (at, sent))
    rates.stairs(scheduled, edges, color=style.SLATE, fill=True, alpha=0.35, linewidth=0, label="intended")
    rates.stairs(achieved, edges, color=style.INK, linewidth=1.4, label="sent")
    rates.set_ylabel("requests/s")
    rates.set_ylim(0)
    rates.yaxis.set_major_formatter(style.plain)
    table = lag_per_window(at, lag_us, width_s)
    for name, colour in (("p50_ms", style.SLATE), ("p99_ms", style.PURPLE), ("max_ms", style.ORANGE)):
        label = f"lag {name.removesuffix('_ms')}"
        lags.plot(table["t_s"] + width_s / 2, table[name].clip(lower=0.001), color=colour, label=label)
    style.milliseconds(lags, label="send lag, ms")
    style.limit(lags, lag_limit_ms, "lag limit")
    lags.set_xlabel("time since the first request, s")
    lags.set_xlim(0, edges[-1])
    figure.legend(loc="outside lower left", ncols=5)
    p99 = percentiles.inverted_cdf(lag_us, ["p99"])["p99"] / 1_000
    return style.described(
        figure,
        f"Intended and sent requests per second over {number(edges[-1])} s, n = {len(records):,}. Send lag p99 "
        f"{number(p99)} ms, largest {number(lag_us.max() / 1_000)} ms; the last request was sent "
        f"{number((sent.max() - at.max()) * 1_000)} ms after the end of the schedule.",
    )


def lag_per_window(at_s: np.ndarray, lag_us: np.ndarray, width_s: float) -> pd.DataFrame:
    """Return t_s, p50_ms, p99_ms and max_ms of the lag per window; p99 of few is their largest."""
    window = (at_s / width_s).astype(np.int64)
    order = np.lexsort((lag_us, window))
    ordered, (present, first, sizes) = lag_us[order], np.unique(window[order], return_index=True, return_counts=True)
    taken = {"t_s": present * width_s}
    for name in ("p50", "p99"):
        ranks = np.array([percentiles.rank(n, name) for n in sizes.tolist()], dtype=np.int64)
        taken[percentiles.column(name)] = ordered[first + ranks - 1] / 1_000
    taken["max_ms"] = ordered[first + sizes - 1] / 1_000
    return pd.DataFrame(taken)
