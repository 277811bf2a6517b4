"""The floor of the generator: the latencies that it measures against a server that does nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tailrace import percentiles
from tailrace.errors import LoadError
from tailrace.load import arrivals
from tailrace.load.driver import start
from tailrace.load.tally import count
from tailrace.load.traffic import Traffic
from tailrace.load.workload import Workload


@dataclass(frozen=True)
class Floor:
    """Latencies against a server that answers at once; every measurement contains them."""

    rate_rps: float
    n: int
    p50_ms: float
    p99_ms: float
    send_lag_p99_ms: float

    def __str__(self) -> str:
        return (
            f"floor of this client: p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms"
            f" (send lag p99 {self.send_lag_p99_ms:.2f} ms; null server, {self.n:,} requests at {self.rate_rps:g}/s)"
        )


def floor(rate_rps: float = 500, duration_s: float = 1.0, workload: Workload | None = None) -> Floor:
    """Measure the floor on this machine, now, with the sender `http`, from the intended start."""
    with null_server() as url, tempfile.TemporaryDirectory(prefix="tailrace-floor-") as folder:
        load_run = start(Traffic(arrivals.constant(rate_rps, duration_s), workload or Workload()), url, Path(folder))
        summary = load_run.wait()
        took_ms = count(load_run.parts).from_intended_ms
    if not len(took_ms) or summary.errors:
        raise LoadError(f"calibration: {summary.recorded} records, {summary.errors} errors from the null server")
    taken = percentiles.inverted_cdf(took_ms, ("p50", "p99"))
    return Floor(rate_rps, summary.recorded, taken["p50"], taken["p99"], summary.send_lag_p99_ms)


@contextlib.contextmanager
def null_server() -> Iterator[str]:
    """Run a null server in a process of its own; yield the URL of its API."""
    command = [sys.executable, "-m", "tailrace.load.null"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip().decode()
            if not port:
                raise LoadError("calibration: the null server did not start")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.stdin.close()
            process.wait(10)
