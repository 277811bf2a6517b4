"""The live view of a load run: counters, and latencies in mergeable buckets."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tailrace import percentiles

_PER_OCTAVE = 32  # bucket width 2.2 %: for a live line, never for a verdict


class LoadSnapshot(NamedTuple):
    """Counters since the start; rate and percentiles of the last seconds, NaN without answers."""

    sent: int
    done: int
    errors: int
    rate_rps: float
    p50_ms: float
    p99_ms: float


class ShardProgress(NamedTuple):
    """The counters of one worker, and its latencies since its last report."""

    t_ns: int
    sent: int
    done: int
    errors: int
    buckets: dict[int, int]


def buckets(latencies_us: Iterable[int]) -> dict[int, int]:
    """Return how many latencies are in each logarithmic bucket."""
    return dict(Counter(int(math.log2(max(1, us)) * _PER_OCTAVE) for us in latencies_us))


def percentile_ms(counts: Mapping[int, int], name: str) -> float:
    """Return the upper end of the bucket that holds the percentile, in ms; NaN when there are no counts."""
    rank, below = percentiles.rank(sum(counts.values()), name), 0
    for bucket in sorted(counts):
        below += counts[bucket]
        if below >= rank:
            return float(2 ** ((bucket + 1) / _PER_OCTAVE) / 1e3)
    return math.nan


class Board:
    """Merges the progress of all workers over a sliding window."""

    def __init__(self, window_s: float = 3.0) -> None:
        self._window_ns = int(window_s * 1e9)
        self._last: dict[int, ShardProgress] = {}
        self._recent: deque[tuple[int, int, dict[int, int]]] = deque()

    def add(self, shard: int, progress: ShardProgress) -> None:
        before = self._last.get(shard)
        self._last[shard] = progress
        self._recent.append((progress.t_ns, progress.done - (before.done if before else 0), progress.buckets))
        while self._recent and self._recent[0][0] < progress.t_ns - self._window_ns:
            self._recent.popleft()

    def snapshot(self) -> LoadSnapshot:
        recent = list(self._recent)
        merged: Counter[int] = Counter()
        for _, _, counts in recent:
            merged.update(counts)
        spans = {t_ns for t_ns, _, _ in recent}
        span_s = (max(spans) - min(spans)) / 1e9 if len(spans) > 1 else 0.0
        done = sum(count for t_ns, count, _ in recent if t_ns > min(spans))
        last = list(self._last.values())
        return LoadSnapshot(
            sum(progress.sent for progress in last),
            sum(progress.done for progress in last),
            sum(progress.errors for progress in last),
            done / span_s if span_s else math.nan,
            percentile_ms(merged, "p50"),
            percentile_ms(merged, "p99"),
        )
