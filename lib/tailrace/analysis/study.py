"""How reliable the intervals and the comparison are: measured on simulated requests with known percentiles.

Three worlds with one median: *independent* requests; *bursty* ones, where the service stalls now and then and all
requests in a stall wait for its end; *bimodal* ones, where a few run into a time-out of ten seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tailrace import percentiles
from tailrace.analysis import intervals
from tailrace.analysis.compare import compare
from tailrace.analysis.latency import Group, tabulated
from tailrace.analysis.latency import rows as latency_rows

Times = npt.NDArray[np.int64]
Stalls = list[tuple[float, float]]


@dataclass(frozen=True)
class World:
    """Requests at `rate_rps`; a stall every `every_s` on average, of `stall_s` on average; `timeouts` is a share."""

    rate_rps: float = 100.0
    every_s: float = math.inf
    stall_s: float = 1.0
    timeouts: float = 0.0

    def stalls(self, span_s: float, rng: np.random.Generator) -> Stalls:
        """Return when stalls begin and how long they are, in seconds."""
        n = int(rng.poisson(span_s / self.every_s))
        return list(zip(rng.uniform(0, span_s, n).tolist(), rng.exponential(self.stall_s, n).tolist(), strict=True))

    def requests(self, n: int, rng: np.random.Generator, stalls: Stalls | None = None) -> tuple[Times, Times]:
        """Return when `n` requests start, in ns, and their latencies, in µs."""
        span_s = n / self.rate_rps
        starts_s = np.sort(rng.uniform(0, span_s, n))
        latencies_s = rng.lognormal(math.log(0.05), 0.35, n)
        latencies_s[rng.random(n) < self.timeouts] += 10.0
        for begins, length in self.stalls(span_s, rng) if stalls is None else stalls:
            stalled = (starts_s >= begins) & (starts_s < begins + length)
            latencies_s[stalled] += begins + length - starts_s[stalled]
        return (starts_s * 1e9).astype(np.int64), (latencies_s * 1e6).astype(np.int64)


WORLDS: Final[Mapping[str, World]] = {
    "independent": World(),
    "bimodal": World(timeouts=0.008),
    "bursty, short stalls": World(every_s=5.0, stall_s=0.3),
    "bursty, long stalls": World(every_s=15.0, stall_s=1.0),
}


def coverage(
    sizes: tuple[int, ...] = (2_000, 20_000, 100_000),
    repeats: int = 200,
    seed: int = 1,
    percentile: str = "p99",
    worlds: Mapping[str, World] = WORLDS,
) -> pd.DataFrame:
    """Return a row per world and n: how often the 95 % interval contained the true percentile.

    `episodes` is the median number of slow episodes; `covered` is over all repeats, `covered_reliable` over those with
    at least 8 slow episodes (NaN when none had), and `reliable` is their share; `textbook` is the coverage of order
    statistics without widening.
    """
    rows = []
    for name, world in worlds.items():
        truth = _truth(world, percentile, seed)
        for n in sizes:
            rng = np.random.default_rng([seed, n])
            rows.append({"world": name, "n": n} | _covered(world, n, percentile, truth, repeats, rng))
    return pd.DataFrame(rows)


def alarms(effects: Mapping[str, float], repeats: int = 100, n: int = 20_000, seed: int = 1) -> pd.DataFrame:
    """Return how often `compare` finds b slower, per effect: the seconds that are added to 1 % of b's requests.

    Both arms run at the same time and share their stalls.
    """
    world, rows = World(rate_rps=200.0, every_s=10.0, stall_s=0.5), []
    for name, effect_s in effects.items():
        rng, findings = np.random.default_rng([seed, 7]), []
        for _ in range(repeats):
            stalls = world.stalls(n / world.rate_rps, rng)
            a, b = (_records(*world.requests(n, rng, stalls)) for _ in "ab")
            slowed = rng.random(n) < 0.01
            b["service_us"] += np.where(slowed, round(effect_s * 1e6), 0)
            findings.append(compare(a, b).table["verdict"].iloc[0])
        rows.append({"effect": name, "repeats": repeats, "n": n, **_shares(findings)})
    return pd.DataFrame(rows)


def _shares(findings: list[str]) -> dict[str, float]:
    return {word: findings.count(word) / len(findings) for word in ("slower", "faster", "no difference shown")}


def _covered(
    world: World, n: int, percentile: str, truth: float, repeats: int, rng: np.random.Generator
) -> dict[str, float]:
    low, high, point = (percentiles.column(percentile, kind) for kind in ("lo", "hi", ""))
    groups, plain = [], 0
    for _ in range(repeats):
        times, values = world.requests(n, rng)
        groups.append(Group(values, times, 0, 0))
        ordered = np.sort(values)
        first, last = intervals.ranks(n, percentile)
        plain += ordered[first - 1] <= truth <= ordered[last - 1]
    table = tabulated(pd.DataFrame(index=range(repeats)), latency_rows(groups, [percentile]), [percentile])
    held = (table[low] * 1_000 <= truth) & (truth <= table[high] * 1_000)
    reliable = table["episodes"] >= intervals.LEAST_EPISODES
    return {
        "episodes": float(table["episodes"].median()),
        "covered": float(held.mean()),
        "covered_reliable": float(held[reliable].mean()) if reliable.any() else math.nan,
        "reliable": float(reliable.mean()),
        "textbook": plain / repeats,
        "width": float(((table[high] - table[low]) / table[point]).median()),
    }


def _truth(world: World, percentile: str, seed: int, n: int = 1_000_000) -> float:
    _, values = world.requests(n, np.random.default_rng([seed, 99]))
    return percentiles.inverted_cdf(values, [percentile])[percentile]


def _records(times: Times, values: Times) -> pd.DataFrame:
    """Return the columns that a comparison needs."""
    plain: dict[str, Any] = {"outcome": "miss", "send_lag_us": 0}
    return pd.DataFrame({"intended_ns": times, "service_us": values, **plain})
