"""Percentiles of the gaps between tokens, from histograms by second."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace import analysis, percentiles
from tailrace.analysis import gaps, intervals
from tailrace.errors import RecordsError
from tailrace.histogram import bucket
from tailrace.percentiles import column


def counted(gaps_us, seconds, **columns):
    """Return gaps as the recorder stores them."""
    frame = pd.DataFrame({"second": seconds, "bucket": bucket(np.asarray(gaps_us))})
    frame = frame.groupby(["second", "bucket"]).size().rename("count").reset_index()
    plain = {"step": "s", "phase": "p", "colour": "blue", "release": "1", "model": "m", **columns}
    return frame.assign(**plain)[list(gaps.COLUMNS)].astype(gaps.COLUMNS)


def test_planted_gaps_come_back():
    """Percentiles of pooled gaps are within 0.1 % of the exact ones."""
    rng = np.random.default_rng(1)
    gaps_us = rng.lognormal(10, 1, 50_000).astype(int)
    row = analysis.itl(counted(gaps_us, rng.integers(0, 90, 50_000)), by=()).iloc[0]
    exact = percentiles.inverted_cdf(gaps_us)
    assert row["n"] == 50_000
    for name, value in exact.items():
        assert row[column(name)] == pytest.approx(value / 1_000, rel=1e-3)
        assert row[column(name, "lo")] <= row[column(name)] <= row[column(name, "hi")] <= row["max_ms"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 200)), min_size=1, max_size=500))
def test_merging_is_exact(pairs):
    """Split into files in any way and added up again, the table is the same; and percentiles rise."""
    values, seconds = map(np.array, zip(*pairs, strict=True))
    half = len(values) // 2
    whole = analysis.itl(counted(values, seconds), by=())
    parts = pd.concat([counted(values[:half], seconds[:half]), counted(values[half:], seconds[half:])])
    pd.testing.assert_frame_equal(analysis.itl(parts, by=()), whole)
    points = [whole.iloc[0][column(p)] for p in percentiles.PERCENTILES if len(values) >= percentiles.needs(p)]
    assert points == sorted(points)


def test_bursts_widen_the_interval():
    """Slow gaps that share a few seconds say less than the same gaps spread over all: the interval is wider."""
    gaps_us, seconds = np.full(20_000, 10_000), np.arange(20_000) % 100
    gaps_us[:300] = np.linspace(50_000, 90_000, 300)
    spread = analysis.itl(counted(gaps_us, seconds), by=()).iloc[0]
    seconds[:300] = 7
    burst = analysis.itl(counted(gaps_us, seconds), by=()).iloc[0]
    assert burst["p99_ms"] == spread["p99_ms"]
    assert burst["p99_hi_ms"] - burst["p99_lo_ms"] > spread["p99_hi_ms"] - spread["p99_lo_ms"]
    assert (spread["episodes"], burst["episodes"]) == (100, 1)


def paced(rng, seconds, per_second=100):
    """Return gaps in seconds that each have a pace of their own."""
    second = np.repeat(np.arange(seconds), per_second)
    return (rng.lognormal(9, 0.3, len(second)) * np.exp(rng.normal(0, 0.3, seconds))[second]).astype(int), second


def test_the_interval_contains_the_truth():
    """Where each second has its own pace, it does in 88 of 100 cases and more; as of independent gaps it would not."""
    everything, _ = paced(np.random.default_rng(0), 20_000)
    truth = percentiles.inverted_cdf(everything, ["p95"])["p95"] / 1_000
    held = plain = 0
    for seed in range(60):
        gaps_us, seconds = paced(np.random.default_rng([1, seed]), 40)
        row = analysis.itl(counted(gaps_us, seconds), by=()).iloc[0]
        held += row["p95_lo_ms"] <= truth <= row["p95_hi_ms"]
        first, last = intervals.ranks(len(gaps_us), "p95")
        plain += np.sort(gaps_us)[first - 1] <= truth * 1_000 <= np.sort(gaps_us)[last - 1]
    assert held >= 0.88 * 60
    assert plain < 0.75 * 60


def test_one_second_decides_nothing():
    """Gaps of fewer than four seconds have an interval from the shortest to the longest."""
    row = analysis.itl(counted(np.arange(1_000), np.zeros(1_000, int)), by=()).iloc[0]
    assert (row["p50_lo_ms"], row["p50_hi_ms"]) == (0, row["max_ms"])


def test_no_gaps(tmp_path):
    """Without gaps n is 0 and percentiles are NaN; so it is for a folder without files."""
    for source in (gaps.empty(), tmp_path):
        row = analysis.itl(source, by=()).iloc[0]
        assert row["n"] == 0
        assert math.isnan(row["p50_ms"])
        assert math.isnan(row["max_ms"])


def test_from_files_by_group(tmp_path):
    """The files of a folder are read together, and each group has its own row."""
    for shard, colour in enumerate(("green", "blue", "blue")):
        counted(np.full(100, 1_000 * (shard + 1)), np.arange(100), colour=colour).to_parquet(
            tmp_path / f"itl-{shard}-0.parquet"
        )
    table = analysis.itl(tmp_path, by=("colour",))
    assert table[["colour", "n"]].values.tolist() == [["blue", 200], ["green", 100]]


def test_what_cannot_be_read_is_refused(tmp_path):
    """A damaged file, or one with other columns, is an error that names it."""
    (tmp_path / "itl-0-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordsError, match=r"itl-0-0\.parquet cannot be read"):
        analysis.itl(tmp_path)
    pd.DataFrame({"second": [1]}).to_parquet(tmp_path / "itl-0-0.parquet")
    with pytest.raises(RecordsError, match="another schema"):
        analysis.itl(tmp_path)


def test_records_stand_for_their_gaps(tmp_path):
    """The gaps of one load run are those beside its files of records; a file of records without gaps has none."""
    counted(np.full(100, 1_000), np.arange(100)).to_parquet(tmp_path / "itl-0123abcd-0-0.parquet")
    counted(np.full(900, 1_000), np.arange(900)).to_parquet(tmp_path / "itl-eeeeeeee-0-0.parquet")
    parts = [tmp_path / f"part-{name}-0.parquet" for name in ("0123abcd-0", "99999999-0")]
    assert analysis.itl(parts, by=()).iloc[0]["n"] == 100
