"""Counting records part by part."""

from pathlib import Path

import numpy as np

from tailrace.load.recorder import Recorder
from tailrace.load.tally import count
from tailrace.records import Record

PLAIN = Record("", 0, 0, "", "", "", "", 0, "m", False, "miss", "", 200, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, -1)


def test_counts_across_parts(tmp_path: Path):
    """Lags, latencies and failures of all parts, whatever the strings of each part are."""
    kinds = ["", "timeout", "", "http_503", "timeout", ""]
    keeper = Recorder(tmp_path, "part-a-0")
    for n, kind in enumerate(kinds):
        keeper.add(PLAIN._replace(seq=n, intended_ns=n * 10**6, send_lag_us=n, service_us=1000 * n, error_type=kind))
        if n % 2:
            keeper.flush()
    keeper.close()
    tally = count(sorted(tmp_path.glob("*.parquet")))
    assert tally.recorded == 6
    assert tally.errors_by_type == {"timeout": 2, "http_503": 1}
    assert list(tally.failed) == [bool(kind) for kind in kinds]
    assert np.allclose(tally.from_intended_ms, [1.001 * n for n in range(6)])
    assert tally.last_sent_ns == 5_005_000


def test_nothing_is_nothing():
    """No files give no records and no error."""
    assert count([]).recorded == 0
    assert count([]).last_sent_ns == 0
