"""Gaps between tokens on disk: all of them, pooled exactly, in little memory, and whole or not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tailrace.histogram import SIZE, Histogram, bucket
from tailrace.load import gaps
from tailrace.load.recorder import Recorder
from tailrace.percentiles import inverted_cdf
from tailrace.records import Record

PLAIN = Record("r", 0, 0, "s", "p", "blue", "r1", 3, "m", True, "miss", "", 200, 1, 0, 0, 0, 0, 0, 0, 16, 8, 0, 12)


def table(folder: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(part).to_pandas() for part in sorted(folder.glob("itl-*.parquet"))])


def pooled(rows: pd.DataFrame) -> Histogram:
    counts = np.bincount(rows["bucket"], weights=rows["count"], minlength=SIZE)
    return Histogram(counts.astype(np.int64))


def test_every_gap_is_counted_where_it_belongs(tmp_path: Path):
    """By the labels and the second of the request, in the bucket of the histogram, over several parts."""
    chance = np.random.default_rng(1)
    keeper, expected = Recorder(tmp_path, "part-a-0"), []
    for n in range(300):
        colour, model, second = f"c{n % 2}", f"m{n % 3}", n // 50
        gaps_us = chance.lognormal(9, 1.5, n % 7).astype(int).tolist()
        keeper.add(PLAIN._replace(colour=colour, model=model, intended_ns=second * 10**9 + n), gaps_us)
        expected += [("s", "p", colour, "r1", model, second, int(place)) for place in bucket(np.array(gaps_us))]
        if n % 100 == 99:
            keeper.flush()
    keeper.close()
    rows = table(tmp_path)
    assert list(rows.columns) == list(gaps.TYPES)
    counted = rows.groupby(list(gaps.TYPES)[:-1])["count"].sum()
    assert counted.to_dict() == pd.Series(expected).value_counts().to_dict()


@pytest.mark.parametrize("scale_us", [300, 30_000])
def test_pooled_percentiles_are_exact_to_a_thousandth(tmp_path: Path, scale_us: int):
    """The percentiles of all gaps, merged from the parts, are within 0.1 % of those of the gaps themselves."""
    chance = np.random.default_rng(2)
    keeper, every = Recorder(tmp_path, "part-a-0"), []
    for n in range(500):
        gaps_us = (chance.pareto(1.5, 40) * scale_us + scale_us).astype(int).tolist()
        every += gaps_us
        keeper.add(PLAIN._replace(seq=n, intended_ns=n * 10**7), gaps_us)
        if n % 90 == 0:
            keeper.flush()
    keeper.close()
    exact = inverted_cdf(np.array(every))
    for name, value_ms in pooled(table(tmp_path)).percentiles_ms().items():
        assert value_ms * 1_000 == pytest.approx(exact[name], rel=0.001)


def test_failures_do_not_count(tmp_path: Path):
    """The gaps of a stream that failed are left out; the same gaps of one that did not are there."""
    keeper = Recorder(tmp_path, "part-a-0")
    keeper.add(PLAIN._replace(outcome="error", error_type="cut_stream"), [5, 5])
    keeper.close()
    assert not list(tmp_path.glob("itl-*"))
    keeper = Recorder(tmp_path, "part-a-1")
    keeper.add(PLAIN, [5, 5])
    keeper.close()
    assert table(tmp_path)["count"].tolist() == [2]


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A part is written when it has many gaps, however few requests they are of."""
    monkeypatch.setattr(gaps, "GAPS_PER_PART", 1_000)
    keeper = Recorder(tmp_path, "part-a-0")
    for n in range(100):
        keeper.add(PLAIN._replace(seq=n), [n] * 99)
        assert len(keeper._gaps) < 1_000 + 99
    keeper.close()
    assert len(list(tmp_path.glob("itl-*"))) == 10
    assert table(tmp_path)["count"].sum() == 9_900


def test_little_room_on_disk(tmp_path: Path):
    """A thousand streams of 200 tokens at a steady pace take less than a byte a gap."""
    chance = np.random.default_rng(3)
    keeper = Recorder(tmp_path, "part-a-0")
    for n in range(1_000):
        keeper.add(PLAIN._replace(seq=n, intended_ns=n * 10**7), chance.normal(20_000, 500, 200).astype(int).tolist())
    keeper.close()
    assert sum(part.stat().st_size for part in tmp_path.glob("itl-*")) < 200_000


def test_a_part_that_is_there_has_its_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The gaps are on disk before the part is: where they cannot be written, the part is missing, too."""

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(gaps, "write", refuse)
    keeper = Recorder(tmp_path, "part-a-0")
    keeper.add(PLAIN, [5])
    with pytest.raises(OSError, match="disk full"):
        keeper.close()
    assert not list(tmp_path.iterdir())


def test_odd_gaps_are_bounded(tmp_path: Path):
    """A gap below zero counts as none, and one of years in the last bucket."""
    keeper = Recorder(tmp_path, "part-a-0")
    keeper.add(PLAIN, [-5, 2**62])
    keeper.close()
    assert table(tmp_path)["bucket"].tolist() == [0, SIZE - 1]
