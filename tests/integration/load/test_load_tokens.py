"""Times of tokens against the truth: the server's own log of when it sent each token, on the same clock.

Held is only what a busy machine cannot break. A token is never told before it was sent; the median request tells it
before the server sends the next one, a tenth of a second later. How many milliseconds it takes is for a bench.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from depth import scaled
from tailrace import analysis
from tailrace.histogram import LARGEST_US, bucket, middle
from tailrace.load import Traffic, Workload, arrivals, run
from tailrace.load.lengths import fixed

pytestmark = pytest.mark.alone

SERVER = Path(__file__).with_name("token_server.py")
GAP_S, TOKENS = 0.1, 5
WORKLOAD = Workload(stream_share=1, max_tokens=fixed(TOKENS))


class Measured(NamedTuple):
    """The records of a load run; and of the same requests, when they were sent and when each token was, in ns."""

    records: pd.DataFrame
    sent_ns: np.ndarray
    token_ns: np.ndarray
    gaps: pd.DataFrame
    most_open: int

    def told_ns(self, column: str) -> np.ndarray:
        return self.sent_ns + self.records[column].to_numpy(dtype=np.int64) * 1_000


def measure(folder: Path, rate: int, seconds: float, ttft_s: float = 0.2) -> Measured:
    log, out = folder / "log.json", folder / "out"
    command = [sys.executable, str(SERVER), str(log), str(ttft_s), str(GAP_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin
        assert server.stdout
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        summary = run(Traffic(arrivals.constant(rate, seconds), WORKLOAD), url, out)
        server.stdin.close()
        server.wait(60)
    assert (summary.sent, summary.errors) == (rate * seconds, 0)
    logged = json.loads(log.read_bytes())
    tokens = {body: times for body, _, times in logged["streams"]}
    records = analysis.read(out).sort_values("seq", ignore_index=True)
    return Measured(
        records,
        (records["intended_ns"] + records["send_lag_us"] * 1_000).to_numpy(),
        np.array([tokens[zlib.crc32(WORKLOAD.request(seq).body)] for seq in records["seq"]]),
        pd.concat([pq.read_table(part).to_pandas() for part in out.glob("itl-*.parquet")]),
        logged["most_open"],
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measure(tmp_path_factory.mktemp("tokens"), 40, scaled(6, 3))


def too_early(measured: Measured, column: str, token: int) -> int:
    """Count the requests that tell a token before it was sent; a time in whole µs is cut by up to two of them."""
    return int((measured.told_ns(column) + 2_000 < measured.token_ns[:, token]).sum())


@pytest.mark.parametrize(("column", "token"), [("ttfc_us", 0), ("ttfa_us", 0), ("last_token_us", -1)])
def test_a_token_is_told_between_its_sending_and_the_next(measured: Measured, column: str, token: int):
    """The first token, the first of the answer and the last: never before it was sent, and soon after it."""
    assert too_early(measured, column, token) == 0
    late_s = np.median(measured.told_ns(column) - measured.token_ns[:, token]) / 1e9
    assert late_s < GAP_S


def test_the_chunk_with_the_role_is_no_token(measured: Measured):
    """Negative control: a reader that takes the first bytes, which hold the role, for the first token is too early."""
    assert too_early(measured, "ttfb_us", 0) == len(measured.records)


def test_every_token_is_counted(measured: Measured):
    """Chunks and tokens of each stream are as many as the server sent; none of them is reasoning."""
    records = measured.records
    assert set(records["chunks"]) == set(records["out_tok"]) == {TOKENS}
    assert set(records["reasoning_tok"]) == {0}
    assert set(records["planned_out_tok"]) == {TOKENS}


def test_gaps_are_those_between_first_and_last_token(measured: Measured):
    """Pooled, there is one gap for each token but the first, and they add up to the time between first and last."""
    records, gaps = measured.records, measured.gaps
    assert gaps["count"].sum() == len(records) * (TOKENS - 1)
    pooled_us = sum(middle(place) * count for place, count in zip(gaps["bucket"], gaps["count"], strict=True))
    assert pooled_us == pytest.approx((records["last_token_us"] - records["ttfc_us"]).sum(), rel=0.001)


def test_pooled_gaps_are_those_that_the_server_made(measured: Measured):
    """Their median is nearer to that of the gaps in the server's log than to that of gaps twice as long."""
    sent_us = np.diff(measured.token_ns, axis=1).ravel() // 1_000
    low, high = (np.bincount(bucket(np.minimum(times, LARGEST_US))).cumsum() for times in (sent_us, 2 * sent_us))
    told = np.bincount(measured.gaps["bucket"], weights=measured.gaps["count"]).cumsum()
    half = len(sent_us) / 2
    median_us = {name: middle(int(np.searchsorted(counts, half))) for name, counts in (("sent", low), ("double", high))}
    told_us = middle(int(np.searchsorted(told, half)))
    assert abs(told_us - median_us["sent"]) < abs(told_us - median_us["double"])


@pytest.mark.deep
@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 6_000, reason="a process may not open 6,000 files here (ulimit -n)"
)
def test_two_thousand_streams_are_open_at_once(tmp_path: Path):
    """One generator holds 2,000 open streams, and every token of them is told after it was sent."""
    measured = measure(tmp_path, 600, 6, ttft_s=5.0)
    assert measured.most_open >= 2_000
    assert too_early(measured, "ttfc_us", 0) == too_early(measured, "last_token_us", -1) == 0
