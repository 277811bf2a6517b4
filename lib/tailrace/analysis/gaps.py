"""The gaps between the tokens of streams (ITL, inter-token latency), pooled over all streams that succeeded.

The recorder counts them in a histogram (`tailrace.histogram`, exact to 0.05 %), by the second in which their request
was due. A second is a batch for the interval: gaps of one stream, and of streams that ran together, are not
independent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tailrace import histogram
from tailrace.analysis import groups, intervals
from tailrace.errors import RecordsError
from tailrace.percentiles import PERCENTILES, column, named, needs, rank, share

COLUMNS: Final = {
    "step": "str", "phase": "str", "colour": "str", "release": "str", "model": "str",
    "second": "int64", "bucket": "int64", "count": "int64",
}  # fmt: skip
LEAST_SECONDS: Final = 4
"""With gaps in fewer seconds, the interval reaches from the shortest to the longest gap."""

Ints = npt.NDArray[np.int64]


def read(source: Path | str | Iterable[Path | str]) -> pd.DataFrame:
    """Return the gaps that were recorded in `source`: a folder of `itl-*.parquet`, one such file, or several.

    A file of records (`part-*.parquet`) stands for the gaps beside it.

    A row is a bucket of a second, with the number of its gaps. Without files there are no rows. Raises RecordsError
    when a file is damaged or of another schema.
    """
    sources = [source] if isinstance(source, Path | str) else list(source)
    files = [file for one in sources for file in _files(Path(one))]
    frames = [_read(file) for file in files]
    return pd.concat(frames, ignore_index=True).astype(COLUMNS) if frames else empty()


def empty() -> pd.DataFrame:
    """Return a frame without gaps, with the right columns."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in COLUMNS.items()})


def itl(
    gaps: pd.DataFrame | Path | str | Iterable[Path | str],
    by: Sequence[str] = ("phase",),
    percentiles: Sequence[str | float] = PERCENTILES,
) -> pd.DataFrame:
    """Return a row per group: `by`, n, p50_ms, p50_lo_ms, p50_hi_ms …, max_ms, episodes.

    `gaps` is a frame as `read` returns it, or what `read` takes. n counts gaps; a percentile that needs a larger n is
    NaN. `episodes` is the number of seconds with gaps at or beyond p99.
    """
    frame = gaps if isinstance(gaps, pd.DataFrame) else read(gaps)
    names = [named(p) for p in percentiles]
    grouped = groups.group(frame, by)
    second, bucket, count = (
        frame[name].to_numpy(dtype=np.int64)[grouped.order] for name in ("second", "bucket", "count")
    )
    rows = [_row(second[part], bucket[part], count[part], names) for part in grouped.slices()]
    columns = ["n", *(column(p, kind) for p in names for kind in ("", "lo", "hi")), "max_ms", "episodes"]
    table = pd.DataFrame(rows, columns=columns).astype({"n": "int64", "episodes": "int64"})
    return pd.concat([grouped.keys, table], axis=1)


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        return sorted(source.glob("itl-*.parquet"))
    if source.name.startswith("part-"):
        beside = source.with_name(source.name.replace("part-", "itl-", 1))
        return [beside] if beside.exists() else []
    return [source]


def _read(file: Path) -> pd.DataFrame:
    try:
        table = pq.ParquetFile(file).read()
    except (OSError, pa.ArrowException) as error:
        raise RecordsError(f"records: {file} cannot be read as parquet: {error}; was its writer killed?") from None
    if set(table.column_names) != set(COLUMNS):
        raise RecordsError(f"records: {file} has another schema: found {table.column_names}, expected {list(COLUMNS)}")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _row(second: Ints, bucket: Ints, count: Ints, names: Sequence[str]) -> dict[str, float]:
    n = int(count.sum())
    if not n:
        return {"n": 0, "max_ms": math.nan, "episodes": 0}
    places, where = np.unique(bucket, return_inverse=True)
    cumulative = np.cumsum(_summed(where, count, len(places)))
    slow = bucket >= places[np.searchsorted(cumulative, rank(n, "p99"))]
    row = {"n": n, "max_ms": _ms(places[-1]), "episodes": len(np.unique(second[slow]))}
    enough = sorted((name for name in names if n >= needs(name)), key=share)
    points = [int(places[np.searchsorted(cumulative, rank(n, name))]) for name in enough]
    for name, point, effect in zip(enough, points, _effects(second, bucket, count, points), strict=True):
        low, high = (places[np.searchsorted(cumulative, r)] for r in intervals.ranks(n, name, effect))
        row |= {column(name): _ms(point), column(name, "lo"): _ms(low), column(name, "hi"): _ms(high)}
    return row


def _effects(second: Ints, bucket: Ints, count: Ints, points: Sequence[int]) -> list[float]:
    """Return the design effect of each percentile, whose buckets are `points`, with seconds as batches."""
    seconds, where = np.unique(second, return_inverse=True)
    if len(seconds) < LEAST_SECONDS:
        return [math.inf] * len(points)
    long = len(seconds) >= intervals.BATCHES
    batch = intervals.batched(second) if long else where
    width, interval = len(points) + 1, np.searchsorted(points, bucket, side="left")
    size = intervals.BATCHES if long else len(seconds)
    table = _summed(batch * width + interval, count, size * width).reshape(size, width)
    if long:
        return [float(effect) for effect in intervals.effects(table)]
    beyond = table[:, ::-1].cumsum(axis=1)[:, ::-1]
    return [max(1.0, float(effect)) for effect in intervals.effect(beyond)]


def _summed(places: Ints, weights: Ints, size: int) -> Ints:
    """Return the sum of the weights at each place, in whole numbers."""
    sums = np.zeros(size, dtype=np.int64)
    np.add.at(sums, places, weights)
    return sums


def _ms(place: int) -> float:
    return histogram.middle(int(place)) / 1_000
