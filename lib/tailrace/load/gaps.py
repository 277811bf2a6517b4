"""The gaps between the tokens of streams, as histograms in parquet: ITL, pooled over all gaps.

A row of `itl-*.parquet` counts the gaps of one bucket of `tailrace.histogram`, in one second of intended starts, of
the successful requests with the same step, phase, colour, release and model. So ITL is exact to 0.05 % or half a
microsecond, can be merged over shards and runs, and has intervals by second. A stream of 500 tokens takes no more
room than its different gaps do.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from tailrace.histogram import LARGEST_US, SIZE, Histogram, bucket
from tailrace.load import columns

GAPS_PER_PART: Final = 500_000
"""Four megabytes; then a part is written."""
LABELS: Final = ("step", "phase", "colour", "release", "model")
TYPES: Final = {**dict.fromkeys(LABELS, "u2"), "second": "i8", "bucket": "i4", "count": "i8"}
_SECOND_BITS: Final = 40  # of a group: its labels above, its second below


class TakenGaps(NamedTuple):
    """The gaps of one part, on their way to disk."""

    labels: Mapping[tuple[int, ...], int]
    """Numbers of the strings of `LABELS`, and the number of the five together."""
    requests: array[int]
    """Of each request: its labels and second in one number, and how many gaps it has."""
    gaps_us: array[int]


class GapKeeper:
    """Keeps the gaps of the requests of one part."""

    def __init__(self) -> None:
        self._labels: dict[tuple[int, ...], int] = {}
        self._requests, self._gaps_us = array("q"), array("q")

    def __len__(self) -> int:
        return len(self._gaps_us)

    def add(self, labels: tuple[int, ...], intended_ns: int, gaps_us: Iterable[int]) -> None:
        """Add the gaps of a request; `labels` are the numbers of its strings."""
        label = self._labels.setdefault(labels, len(self._labels))
        before = len(self._gaps_us)
        self._gaps_us.extend(gaps_us)
        second = min(max(intended_ns // 1_000_000_000, 0), (1 << _SECOND_BITS) - 1)
        self._requests.extend((label << _SECOND_BITS | second, len(self._gaps_us) - before))

    def take(self) -> TakenGaps:
        """Return the gaps so far, and begin anew."""
        taken = TakenGaps(self._labels, self._requests, self._gaps_us)
        self._labels, self._requests, self._gaps_us = {}, array("q"), array("q")
        return taken


def beside(parts: Iterable[Path]) -> list[Path]:
    """Return the files of gaps that belong to these record files, where there are any."""
    files = [part.with_name(part.name.replace("part-", "itl-", 1)) for part in parts]
    return [file for file in files if file.exists()]


def pooled(parts: Iterable[Path]) -> Histogram:
    """Return all gaps that belong to these record files."""
    counts = np.zeros(SIZE, dtype=np.int64)
    for file in beside(parts):
        found = columns.read([file], ("bucket", "count"))
        np.add.at(counts, found["bucket"], found["count"])
    return Histogram(counts)


def write(taken: TakenGaps, strings: Sequence[str], path: Path) -> None:
    """Write the gaps of a part as one parquet file; `strings` are those that labels number."""
    requests = np.frombuffer(taken.requests, dtype=np.int64).reshape(-1, 2)
    groups, places = np.unique(requests[:, 0], return_inverse=True)
    buckets = bucket(np.minimum(np.frombuffer(taken.gaps_us, dtype=np.int64), LARGEST_US))
    cells, counts = np.unique(np.repeat(places, requests[:, 1]) * SIZE + buckets, return_counts=True)
    group = groups[cells // SIZE]
    labels = np.array(list(taken.labels), dtype=np.int64)[group >> _SECOND_BITS]
    values: dict[str, Any] = {name: labels[:, place] for place, name in enumerate(LABELS)}
    values |= {"second": group & ((1 << _SECOND_BITS) - 1), "bucket": cells % SIZE, "count": counts}
    dictionary = columns.texts(strings)
    arrays = [columns.column(kind, values[name], dictionary) for name, kind in TYPES.items()]
    columns.write(pa.Table.from_arrays(arrays, names=list(TYPES)), path, ("second", "bucket", "count"))
