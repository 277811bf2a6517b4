"""What is sampled while a load runs, and kept beside its records: the machine, the server's own metrics, an edge.

Each kind of sample is a file `<name>-<load run>.parquet` in the folder of the records. A failing sampler costs the load
nothing, and a file that cannot be written is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tailrace.host import files, scrape
from tailrace.host.machine import MACHINE, Handles, Machine, nobody
from tailrace.host.sampling import Sampler
from tailrace.host.scrape import MetricsPage
from tailrace.server_metrics import Reading

SERVER = "server"
MACHINE_EVERY_S, SERVER_EVERY_S = 0.5, 1.0
SERVER_SAMPLES = 1_024

Rows = Sequence[NamedTuple]


class ServerRow(NamedTuple):
    """One figure of a server at one time: a gauge, or one bucket of a histogram (`bound_ms`, cumulative)."""

    t_ns: int
    colour: str
    """Of the instance; "" where the server has none."""
    measure: str
    bound_ms: float | None
    value: float
    why: str
    """Why there is no figure; then `measure` is empty."""


@dataclass
class Beside:
    """One kind of sample: `read` returns the rows of one moment."""

    name: str
    read: Callable[[], Rows]
    every_s: float
    limit: int = 4_096
    _sampler: Sampler[Rows] | None = field(default=None, init=False)

    def start(self) -> None:
        self._sampler = Sampler(self.read, self.every_s, self.limit).start()

    def stop(self, folder: Path, key: str) -> None:
        """Read once more, and write all rows to `folder`; `key` names the load run."""
        if self._sampler is None:
            return
        rows = list(chain.from_iterable(self._sampler.stop()))
        self._sampler = None
        if rows:
            with contextlib.suppress(OSError):
                _write(rows, folder / f"{self.name}-{key}.parquet")


def machine(handles: Handles = nobody) -> Beside:
    """Sample the machine; `handles` names the groups of processes that are known."""
    return Beside(MACHINE, Machine(handles).rows, MACHINE_EVERY_S)


def server(pages: Callable[[], dict[str, MetricsPage]]) -> Beside:
    """Sample the metrics pages that `pages` returns, by the colour of the server; they may change meanwhile."""

    def read() -> Rows:
        readings = {colour: scrape.read(page, scrape.PATIENT_S) for colour, page in pages().items()}
        return [row for colour, reading in readings.items() for row in server_rows(colour, reading)]

    return Beside(SERVER, read, SERVER_EVERY_S, SERVER_SAMPLES)


def server_rows(colour: str, reading: Reading) -> list[ServerRow]:
    """Return one reading as rows."""
    if reading.why:
        return [ServerRow(reading.t_ns, colour, "", None, 0.0, reading.why)]
    gauges = [ServerRow(reading.t_ns, colour, name, None, value, "") for name, value in reading.gauges.items()]
    buckets = [
        ServerRow(reading.t_ns, colour, name, bound_ms, count, "")
        for name, histogram in reading.times.items()
        for bound_ms, count in histogram.buckets
    ]
    return gauges + buckets


@contextlib.contextmanager
def during(samples: Sequence[Beside], folder: Path, key: str) -> Iterator[None]:
    """Take these samples for the length of the block."""
    for one in samples:
        one.start()
    try:
        yield
    finally:
        for one in samples:
            one.stop(folder, key)


def _write(rows: list[Any], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [getattr(row, name) for row in rows] for name in rows[0]._fields}
    content = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), content)
    files.replace(path, content.getvalue().to_pybytes())
