"""A histogram that can be merged, for live views and for generators on several machines.

Latencies are counted in buckets of whole microseconds up to 2,047, and above that in 1,024 equal buckets per
doubling, as HdrHistogram does with three digits: a percentile of it is within 0.05 % of a measured value. Verdicts
come from exact percentiles, not from here.

Source: Tene, HdrHistogram, the bucket layout.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from tailrace.percentiles import PERCENTILES, needs, rank

DIGITS: Final = 10
"""Buckets per doubling, as a power of two: 1,024, so that half a bucket is 1/2,048 of its value."""
DOUBLINGS: Final = 32
SIZE: Final = (DOUBLINGS + 1) << DIGITS
LARGEST_US: Final = (1 << (DOUBLINGS + DIGITS)) - 1
"""50 days; longer latencies are counted in the last bucket."""


@dataclass(frozen=True)
class Histogram:
    """Successes by latency (µs), and how many requests failed. Add two of them to merge."""

    counts: npt.NDArray[np.int64]
    errors: int = 0

    @classmethod
    def of(cls, values_us: npt.NDArray[Any], errors: int = 0) -> Self:
        """Count `values_us`."""
        return cls(np.bincount(bucket(values_us), minlength=SIZE), errors)

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(self.counts + other.counts, self.errors + other.errors)

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def percentiles_ms(self, percentiles: Sequence[str] = PERCENTILES) -> dict[str, float]:
        """Return each percentile of the successes in ms, NaN where n is less than it needs."""
        n, cumulative = self.n, np.cumsum(self.counts)
        percentiles_ms = {}
        for name in percentiles:
            enough = n >= needs(name)
            at = int(np.searchsorted(cumulative, rank(n, name))) if enough else 0
            percentiles_ms[name] = middle(at) / 1_000 if enough else math.nan
        return percentiles_ms

    def packed(self) -> bytes:
        """Return it as bytes, some kilobytes; `unpacked` is the inverse."""
        return self.errors.to_bytes(8, "little") + zlib.compress(self.counts.astype("<i8").tobytes(), 6)

    @classmethod
    def unpacked(cls, packed: bytes) -> Self:
        """Return the histogram that was `packed`; ValueError when the bytes are something else."""
        try:
            counts = np.frombuffer(zlib.decompress(packed[8:]), dtype="<i8").astype(np.int64)
        except zlib.error as error:
            raise ValueError(f"not a packed histogram: {error}") from None
        if len(counts) != SIZE:
            raise ValueError(f"not a packed histogram: {len(counts):,} buckets, expected {SIZE:,}")
        return cls(counts, int.from_bytes(packed[:8], "little"))


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return the sum of `histograms`; of none it is empty."""
    return sum(histograms, Histogram(np.zeros(SIZE, dtype=np.int64)))


def bucket(values_us: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the bucket of each value; below 0 counts as 0."""
    values = np.clip(values_us, 0, LARGEST_US).astype(np.int64)
    doubling = np.maximum(np.frexp(values.astype(np.float64))[1] - (DIGITS + 1), 0).astype(np.int64)
    places: npt.NDArray[np.int64] = (doubling << DIGITS) + (values >> doubling)
    return places


def middle(place: int) -> float:
    """Return the middle of a bucket, in µs."""
    doubling = max(0, (place >> DIGITS) - 1)
    low = (place - (doubling << DIGITS)) << doubling
    return low + ((1 << doubling) - 1) / 2
