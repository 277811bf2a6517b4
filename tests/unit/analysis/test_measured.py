"""The times of tokens: planted ones come back exactly, from memory and from disk."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailrace import analysis
from tailrace.analysis import disk
from tailrace.records import DEFAULTS

MEASURES = ["latency", "ttft", "tpot"]


def streams(make, ttft_ms, tpot_ms, tokens, **columns):
    """Return streams with these times, one token a chunk."""
    first, each, out = (
        np.broadcast_to(v, np.broadcast(ttft_ms, tpot_ms, tokens).shape) for v in (ttft_ms, tpot_ms, tokens)
    )
    last = np.round((first + each * (out - 1)) * 1_000).astype(int)
    times = {"ttfc_us": np.round(first * 1_000).astype(int), "last_token_us": last, "out_tok": out, "chunks": out}
    return make(last + 500, stream=True, **(times | columns))


def test_planted_times_come_back(make):
    """TTFT counts to the first token, from both starts; TPOT is by tokens, whatever the number of chunks."""
    records = streams(make, np.full(400, 200.0), 11.0, 12, send_lag_us=2_000, chunks=3)
    rows = {
        (name, start): analysis.latency(records, by=(), measure=name, start=start).iloc[0]["p99_ms"]
        for name in MEASURES
        for start in ("intended", "sent")
    }
    assert rows == {
        ("latency", "intended"): 323.5, ("latency", "sent"): 321.5, ("ttft", "intended"): 202.0,
        ("ttft", "sent"): 200.0, ("tpot", "intended"): 11.0, ("tpot", "sent"): 11.0,
    }  # fmt: skip


def test_chunks_are_no_tokens(make):
    """Negative control: a time per chunk would be four times the time per token here."""
    records = streams(make, np.full(400, 200.0), 11.0, 13, chunks=4)
    per_chunk = (records["last_token_us"] - records["ttfc_us"]) / 1_000 / (records["chunks"] - 1)
    assert per_chunk.median() == 4 * analysis.latency(records, by=(), measure="tpot").iloc[0]["p50_ms"]


def test_only_streams_have_them(make):
    """Plain answers are in no distribution of tokens, and failed streams are counted as +∞ beside it."""
    good, bad = streams(make, np.full(100, 50.0), 2.0, 5), streams(make, np.full(10, 1.0), 1.0, 5, outcome="error")
    row = analysis.latency(pd.concat([good, bad, make(np.full(500, 9))]), by=(), measure="ttft").iloc[0]
    assert (row["n"], row["errors"], row["p50_ms"], row["p95_adj_ms"]) == (100, 10, 50, math.inf)


@pytest.mark.parametrize(
    "lacking",
    [{"out_tok": 0}, {"out_tok": 1}, {"ttfc_us": -1}, {"last_token_us": -1}],
    ids=["no usage", "one token", "no first token", "an older record"],
)
def test_without_two_tokens_there_is_no_time_per_token(make, lacking):
    """A stream whose tokens were not counted, or that has one alone, has no TPOT; it is not 0."""
    row = analysis.latency(streams(make, np.full(100, 50.0), 2.0, 5, **lacking), by=(), measure="tpot").iloc[0]
    assert row["n"] == 0
    assert math.isnan(row["p50_ms"])


def test_no_streams(make):
    """Without streams n is 0, and by group there is no row."""
    records = make(np.full(100, 9))
    assert analysis.latency(records, by=(), measure="ttft").iloc[0]["n"] == 0
    assert analysis.latency(records, measure="ttft").empty
    assert analysis.latency(analysis.empty(), by=(), measure="tpot").iloc[0]["n"] == 0


def test_failures_apart_have_no_time_of_tokens(make):
    """Grouped by outcome, failures have no row: the time until a failure is no time to a token."""
    records = pd.concat(
        [streams(make, np.full(80, 5.0), 1.0, 3), streams(make, np.full(9, 5.0), 1.0, 3, outcome="error")]
    )
    assert analysis.latency(records, by=("outcome",), measure="ttft")["outcome"].tolist() == ["miss"]
    assert analysis.latency(records, by=("outcome",))["outcome"].tolist() == ["error", "miss"]


def test_not_a_measure(make):
    """A measure or start that is none is refused by name."""
    with pytest.raises(ValueError, match="found 'ttfb', expected one of latency, e2e, ttft, tpot"):
        analysis.latency(make([1]), measure="ttfb")
    with pytest.raises(ValueError, match="expected 'intended' or 'sent'"):
        analysis.latency(make([1]), start="now")


TIMES = st.tuples(
    st.booleans(), st.sampled_from(["miss", "hit", "error"]), st.integers(-1, 10**6), st.integers(-1, 10**6),
    st.integers(0, 50), st.integers(0, 5_000), st.sampled_from(["a", "b"]),
)  # fmt: skip


def of_rows(make, rows):
    stream, outcome, first, last, out, lag, phase = (list(column) for column in zip(*rows, strict=True))
    return make(
        np.full(len(rows), 10**6), stream=stream, outcome=outcome, ttfc_us=first, last_token_us=last, out_tok=out,
        send_lag_us=lag, phase=phase,
    )  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TIMES, min_size=1, max_size=300), st.sampled_from(MEASURES), st.sampled_from(["intended", "sent"]))
def test_memory_and_disk_agree(make, tmp_path_factory, rows, measure, start):
    """Whatever the records, pandas and DuckDB give one table, to the bit."""
    records, folder = of_rows(make, rows), tmp_path_factory.mktemp("r")
    records.to_parquet(folder / "part-0.parquet")
    for by in ((), ("phase",), ("phase", "outcome")):
        ours = disk.latency(folder, by, start, measure=measure)
        theirs = analysis.latency(records, by, start, measure=measure)
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(TIMES, min_size=1, max_size=300),
    st.dictionaries(st.sampled_from(MEASURES), st.floats(0.001, 1_000), min_size=1),
    st.sampled_from(["intended", "sent"]),
)
def test_goodput_from_memory_and_disk_agrees(make, tmp_path_factory, rows, limits_ms, start):
    """The same for goodput, whichever limits it has."""
    records, folder = of_rows(make, rows), tmp_path_factory.mktemp("r")
    records.to_parquet(folder / "part-0.parquet")
    for by in ((), ("phase",)):
        ours, theirs = disk.goodput(folder, limits_ms, by, start), analysis.goodput(records, limits_ms, by, start)
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)


def test_older_records_on_disk(make, tmp_path):
    """Records of before there were times of tokens have a TTFT, and no TPOT."""
    streams(make, np.full(100, 50.0), 2.0, 5).drop(columns=list(DEFAULTS)).to_parquet(tmp_path / "part-0.parquet")
    assert disk.latency(tmp_path, (), measure="ttft").iloc[0]["p50_ms"] == 50
    assert disk.latency(tmp_path, (), measure="tpot").iloc[0]["n"] == 0
