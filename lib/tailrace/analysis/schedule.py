"""Whether the load generator kept its schedule, from the records alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tailrace.analysis import frames
from tailrace.analysis.levels import schedule_s
from tailrace.percentiles import inverted_cdf
from tailrace.validity import Generator


def generator(records: pd.DataFrame) -> Generator | None:
    """Return the figures of the generator of `records`; None with fewer than two, which have no schedule."""
    n = len(records)
    if n < 2:
        return None
    intended_ns = records["intended_ns"].to_numpy(dtype=np.int64)
    lag_us = records["send_lag_us"].to_numpy(dtype=np.int64)
    span_s = max(schedule_s(intended_ns), 1e-9)
    last_s = float((intended_ns + lag_us * 1_000).max() - intended_ns.min()) / 1e9
    service_us = records["service_us"].to_numpy(dtype=np.int64)[~frames.failed(records)]
    return Generator(
        intended_rps=n / span_s,
        achieved_rps=n / max(span_s, last_s),
        send_lag_p99_ms=inverted_cdf(lag_us, ["p99"])["p99"] / 1e3,
        service_p50_ms=inverted_cdf(service_us, ["p50"])["p50"] / 1e3,
    )


def invalid_reasons(records: pd.DataFrame) -> list[str]:
    """Return why `records` are not a valid measurement, in words; none with fewer than two records."""
    figures = generator(records)
    return figures.invalid_reasons() if figures else []
