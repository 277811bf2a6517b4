"""Records that exceed memory."""

import numpy as np
import pandas as pd
import pytest

from tailrace import analysis
from tailrace.analysis import disk
from tailrace.errors import RecordsError
from tailrace.records import DEFAULTS


@pytest.fixture(scope="module")
def folder(make_once, tmp_path_factory):
    rng, path = np.random.default_rng(4), tmp_path_factory.mktemp("records")
    for shard in range(3):
        n = 9_001 + shard
        lag, outcome = rng.integers(0, 900, n), np.where(rng.random(n) < 0.02, "error", "miss")
        phase = rng.choice(["a", "b", "c's", ""], n, p=[0.7, 0.2, 0.09, 0.01])
        colour = np.where(np.arange(n) < 4_000, "blue", "green")
        service = rng.lognormal(11, 0.5, n).astype("int64")
        records = make_once(service, 200.0, shard=shard, send_lag_us=lag, outcome=outcome, phase=phase, colour=colour)
        records.to_parquet(path / f"part-{shard}.parquet")
    return path


@pytest.mark.parametrize("start", ["intended", "sent"])
@pytest.mark.parametrize("by", [(), ("phase",), ("phase", "colour"), ("phase", "outcome")])
@pytest.mark.parametrize("memory_mb", [1, 1_000])
def test_the_same_to_the_bit(folder, by, start, memory_mb):
    """DuckDB's numbers are those of pandas to the bit, however little memory there is."""
    ours = disk.latency(folder, by, start, memory_mb=memory_mb)
    theirs = analysis.latency(analysis.read(folder), by, start)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("phases", [["a"], ["c's", ""], ["nothing"]])
def test_chosen_phases_of_several_folders(folder, phases):
    """Of several folders, and of some of their phases, it is the same, too: names with quotes, and none at all."""
    both = analysis.read([folder, folder])
    ours = disk.latency([folder, folder], ("colour",), phases=phases)
    theirs = analysis.latency(both[both["phase"].isin(phases)], ("colour",))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)


@pytest.mark.parametrize("older", [1, 2])
def test_older_files_are_filled(make, tmp_path, older):
    """Columns that older files lack are grouped by their defaults, whether some files lack them or all."""
    for part in range(2):
        records = make([1, 2, 3 + part], turn=[0, 1, 1])
        records = records.drop(columns=list(DEFAULTS)) if part < older else records
        records.to_parquet(tmp_path / f"part-{part}.parquet")
    ours = disk.latency(tmp_path, ("turn",))
    pd.testing.assert_frame_equal(ours, analysis.latency(analysis.read(tmp_path), ("turn",)), check_dtype=False)
    assert ours["turn"].tolist() == ([0, 1] if older == 1 else [0])


def test_numbers_differ_when_a_record_does(folder, tmp_path):
    """Negative control: one slower request changes the table."""
    for part in folder.glob("*.parquet"):
        (tmp_path / part.name).write_bytes(part.read_bytes())
    changed = pd.read_parquet(tmp_path / "part-0.parquet")
    changed.loc[5, "service_us"] += 10**8
    changed.to_parquet(tmp_path / "part-0.parquet")
    assert disk.latency(tmp_path, ()).iloc[0]["max_ms"] > disk.latency(folder, ()).iloc[0]["max_ms"]


def test_latencies_beyond_an_hour(make, tmp_path):
    """Latencies beyond 32 bits of µs are exact, too."""
    make(np.full(100, 2**40)).to_parquet(tmp_path / "part-0.parquet")
    assert disk.latency(tmp_path, ()).iloc[0]["p50_ms"] == 2**40 / 1_000


def test_refused(make, tmp_path):
    """No records, or a column that is none, is an error that says so."""
    with pytest.raises(RecordsError, match=r"holds no part-\*"):
        disk.latency(tmp_path)
    make([1]).to_parquet(tmp_path / "part-0.parquet")
    with pytest.raises(RecordsError, match="no column nothing"):
        disk.latency(tmp_path, ["nothing"])
