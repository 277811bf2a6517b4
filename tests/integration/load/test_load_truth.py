"""The generator's numbers against the truth: what the server itself logged, on the same clock."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailrace.load import Flight, Traffic, arrivals, start


def records(flight: Flight) -> pa.Table:
    """The records of a flight of one shard, in the order of the schedule."""
    return pa.concat_tables(pq.read_table(part) for part in flight.parts).sort_by("seq")


def quantile(values: np.ndarray, q: float) -> float:
    return float(np.quantile(values, q, method="inverted_cdf"))


def from_intended_ms(table: pa.Table) -> np.ndarray:
    return (table["send_lag_us"].to_numpy() + table["service_us"].to_numpy()) / 1e3


def truth_ms(table: pa.Table, seen: list[tuple[int, int, int]]) -> np.ndarray:
    """From the schedule's wish to the server's last byte, by the server's log."""
    answered = {number: end_ns for number, _, end_ns in seen}
    return np.array(
        [
            (answered[seq] - at) / 1e6
            for seq, at in zip(table["seq"].to_pylist(), table["intended_ns"].to_pylist(), strict=True)
        ]
    )


def ks(samples: np.ndarray, cdf: np.ndarray) -> float:
    """The Kolmogorov-Smirnov distance times √n; above 1.95 the law is refused at 0.1 %."""
    n, at = len(samples), np.sort(cdf)
    return float(np.sqrt(n) * max(np.max(np.arange(1, n + 1) / n - at), np.max(at - np.arange(n) / n)))


def worker() -> psutil.Process:
    (child,) = [p for p in psutil.Process(os.getpid()).children() if "tailrace.load.worker" in p.cmdline()]
    return child


@pytest.mark.slow
def test_a_stalled_server_is_seen_in_full(serve, tmp_path: Path):
    """Server frozen 1.5 s of 15 s at 100/s: p95 and p99 from intended are within 3 % of the server's own log."""
    target = serve(0.01)
    flight = start(Traffic(arrivals.constant(100, 15)), target.url, tmp_path)
    time.sleep(5)
    target.process.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    target.process.send_signal(signal.SIGCONT)
    summary = flight.wait()
    table = records(flight)
    truth, measured = truth_ms(table, target.seen()), from_intended_ms(table)
    assert (summary.sent, summary.errors) == (1500, 0)
    assert quantile(truth, 0.99) > 1000
    for q in (0.95, 0.99):
        assert quantile(measured, q) == pytest.approx(quantile(truth, q), rel=0.03)
    assert summary.send_lag_p99_ms < 100, "the stall was the server's"


@pytest.mark.slow
def test_a_frozen_generator_says_so(serve, tmp_path: Path):
    """Generator frozen 1.5 s: nothing is left out, the figures from intended hold, and the flight is invalid."""
    target = serve(0.01)
    flight = start(Traffic(arrivals.constant(100, 15)), target.url, tmp_path)
    time.sleep(5)
    worker().send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    worker().send_signal(signal.SIGCONT)
    summary = flight.wait()
    table = records(flight)
    truth, measured = truth_ms(table, target.seen()), from_intended_ms(table)
    assert (summary.sent, summary.errors) == (1500, 0)
    for q in (0.95, 0.99):
        assert quantile(measured, q) == pytest.approx(quantile(truth, q), rel=0.03)
    assert quantile(table["service_us"].to_numpy() / 1e3, 0.95) < 200, "from sent, the service was never slow"
    assert summary.send_lag_p99_ms > 1000
    assert not summary.valid
    assert any("send lag" in reason for reason in summary.reasons)


@pytest.mark.slow
def test_accuracy_at_500_a_second(serve, tmp_path: Path):
    """A fixed 50 ms server at 500/s: p50 within 0.5 ms and p99 within 1.5 ms of the server's truth.

    Both cores belong to others, too: one undisturbed measurement of three is asked for.
    """
    errors = []
    for attempt in range(3):
        target = serve(0.05)
        flight = start(Traffic(arrivals.constant(500, 4)), target.url, tmp_path / str(attempt))
        os.sched_setaffinity(worker().pid, {max(os.sched_getaffinity(0))})
        flight.wait()
        measured = from_intended_ms(records(flight))
        truth = np.array([(end - at) / 1e6 for _, at, end in target.seen()])
        errors.append([quantile(measured, q) - quantile(truth, q) for q in (0.5, 0.99)])
        if abs(errors[-1][0]) <= 0.5 and abs(errors[-1][1]) <= 1.5:
            return
    pytest.fail(f"p50 and p99 beside the truth, ms: {errors}")


def test_the_server_sees_the_law_of_the_schedule(serve, tmp_path: Path):
    """Gaps between arrivals at the server are exponential for Poisson, and are refused for equal gaps."""
    distances = {}
    for law in ("poisson", "constant"):
        target = serve(0.0)
        schedule = arrivals.poisson(300, 4, seed=8) if law == "poisson" else arrivals.constant(300, 4)
        start(Traffic(schedule, shards=2), target.url, tmp_path / law).wait()
        gaps = np.diff(np.sort([at_ns for _, at_ns, _ in target.seen()])) / 1e9
        distances[law] = ks(gaps, 1 - np.exp(-300 * gaps))
    assert distances["poisson"] < 1.95
    assert distances["constant"] > 5
