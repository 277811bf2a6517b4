"""The few columns of the records that the generator itself needs, read part by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tailrace.load import columns

_NUMBERS = ("intended_ns", "send_lag_us", "service_us")


class Tally(NamedTuple):
    """Figures from records; 17 bytes of memory each."""

    send_lag_us: npt.NDArray[np.int64]
    service_us: npt.NDArray[np.int64]
    failed: npt.NDArray[np.bool_]
    last_sent_ns: int
    """0 when there are no records."""
    errors_by_type: dict[str, int]

    @property
    def recorded(self) -> int:
        return len(self.failed)

    @property
    def from_intended_ms(self) -> npt.NDArray[np.float64]:
        """The latency of every request; of a failed one, the time until it failed."""
        return (self.send_lag_us + self.service_us) / 1e3


def count(files: Sequence[Path]) -> Tally:
    """Return the figures of these record files."""
    lags, services, failures = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.bool_)]
    last_ns, kinds = 0, Counter[str]()
    for file in files:
        table = pq.ParquetFile(file, read_dictionary=["error_type"]).read(columns=[*_NUMBERS, "error_type"])
        intended_ns, lag_us, service_us = (_numbers(table[name], np.int64) for name in _NUMBERS)
        failed = []
        for chunk in table["error_type"].chunks:
            names = chunk.dictionary.to_pylist()
            codes = columns.buffer(chunk.indices, np.int32)
            failed.append(np.array([bool(name) for name in names], dtype=np.bool_)[codes])
            kinds.update({names[code]: int(n) for code, n in enumerate(np.bincount(codes)) if n and names[code]})
        lags.append(lag_us)
        services.append(service_us)
        failures += failed
        last_ns = max(last_ns, int((intended_ns + lag_us * 1000).max(initial=0)))
    return Tally(
        np.concatenate(lags), np.concatenate(services), np.concatenate(failures), last_ns, dict(kinds.most_common())
    )


def _numbers(column: pa.ChunkedArray, kind: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *(columns.buffer(chunk, kind) for chunk in column.chunks)])
