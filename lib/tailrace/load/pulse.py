"""How the generator itself fares: the lag of its event loop, and its share of a core."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import numpy as np

from tailrace import percentiles
from tailrace.load.alarm import Alarm

_EVERY_NS = 20_000_000


class Vitals(NamedTuple):
    """The figures of one worker over a load run."""

    cpu_share: float
    """Of one core."""
    loop_lag_p99_ms: float
    loop_lag_max_ms: float


class Pulse:
    """A timer every 20 ms that notes how late it ran."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lags_us: list[int] = []
        self._wall_ns, self._cpu_ns = time.perf_counter_ns(), time.process_time_ns()
        self._alarm = Alarm(loop, self._beat)
        self._next_ns = self._wall_ns + _EVERY_NS
        self._alarm.set(self._next_ns)

    def restart(self) -> None:
        """Start to count now: what the preparations took is not part of the load run."""
        self._lags_us.clear()
        self._wall_ns, self._cpu_ns = time.perf_counter_ns(), time.process_time_ns()

    def vitals(self) -> Vitals:
        wall_ns = max(1, time.perf_counter_ns() - self._wall_ns)
        lags_ms = np.array(self._lags_us or [0]) / 1e3
        return Vitals(
            round((time.process_time_ns() - self._cpu_ns) / wall_ns, 3),
            round(percentiles.inverted_cdf(lags_ms, ["p99"])["p99"], 3),
            round(float(lags_ms.max()), 3),
        )

    def close(self) -> None:
        self._alarm.close()

    def _beat(self) -> None:
        now_ns = time.perf_counter_ns()
        self._lags_us.append((now_ns - self._next_ns) // 1000)
        self._next_ns = now_ns + _EVERY_NS
        self._alarm.set(self._next_ns)
