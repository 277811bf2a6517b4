"""Tables of tokens: readable, and with the numbers of the analysis."""

import numpy as np
import pytest
from tests.unit.analysis.test_gaps import counted

from tailrace import analysis
from tailrace.report import evidence, tables


def streamed(make_frame, n=900, **columns):
    """Return streams of 11 tokens, 10 ms a token, and as many plain requests."""
    ttft = np.linspace(50_000, 150_000, n).astype(int)
    times = {"ttfc_us": ttft, "last_token_us": ttft + 100_000, "service_us": ttft + 101_000, "out_tok": 11}
    return make_frame(n, 100.0, 1, send_lag_us=0, **({"stream": True, "phase": "p"} | times | columns))


def test_the_times_of_streams(make_frame):
    """A row per measure, in the order in which a user feels them, each with interval and n."""
    gaps = counted(np.full(9_000, 10_000), np.arange(9_000) % 9)
    shown = tables.build("streams", {"records": streamed(make_frame), "gaps": gaps}.__getitem__)
    assert shown["of streams"].tolist() == ["end to end", "TTFT", "TPOT", "ITL"]
    assert shown["n"].tolist() == ["900", "900", "900", "9,000"]
    assert shown["p50, ms"].iloc[2] == "10 [10, 10]"
    assert shown["p99, ms"].iloc[1].startswith("149 [")


def test_without_streams_or_gaps(make_frame):
    """Plain requests say that there was none, and a run without recorded gaps gives the other three."""
    frames = {"records": streamed(make_frame, stream=False)}
    assert tables.build("streams", frames.__getitem__).values.tolist() == [["none was recorded"]]
    shown = tables.build("streams", {"records": streamed(make_frame)}.__getitem__)
    assert shown["of streams"].tolist() == ["end to end", "TTFT", "TPOT"]


def test_goodput_with_its_interval(make_frame):
    """The share of good streams with its interval, and the limits in the head of the column."""
    options = {"limits_ms": {"ttft": 100, "tpot": 40}}
    shown = tables.build("goodput", {"records": streamed(make_frame)}.__getitem__, **options)
    assert shown["good: TTFT 100 ms, TPOT 40 ms"].iloc[0].startswith("50 % [")
    assert shown["goodput, /s"].tolist() == ["50"]


@pytest.mark.parametrize(
    ("planned", "text"), [(11, "+0.0 %"), (10, "+10.0 %, beyond 2 %"), (12, "-8.3 %, beyond 2 %"), (-1, "n/a")]
)
def test_counted_against_planned_tokens(make_frame, planned, text):
    """The deviation stands beside the count, and beyond 2 % it says so."""
    records = streamed(make_frame, planned_out_tok=planned, reasoning_tok=4)
    shown = tables.build("tokens", {"records": records}.__getitem__)
    assert shown["of planned out"].tolist() == [text]
    assert (shown["tokens out"].iloc[0], shown["of them reasoning"].iloc[0]) == ("9,900", "3,600")
    assert shown["tokens/s, a user"].tolist() == ["100"]


def test_large_records_are_the_same(run_dir, make_frame, monkeypatch):
    """Records that are too many to load give the same tables, from disk."""
    folder = run_dir / "records" / "03_blue_green_switch"
    streamed(make_frame).to_parquet(folder / "part-0.parquet")
    counted(np.full(9_000, 10_000), np.arange(9_000) % 9).to_parquet(folder / "itl-0.parquet")
    load = evidence.Loader(run_dir, "03_blue_green_switch")
    chosen = {"streams": {}, "goodput": {"limits_ms": {"ttft": 100}}}
    small = {name: tables.build(name, load, **options) for name, options in chosen.items()}
    monkeypatch.setattr(evidence.Loader, "large", lambda self, name: evidence.LargeRecords([folder], []))
    for name, options in chosen.items():
        assert tables.build(name, load, **options).equals(small[name])


def test_gaps_are_evidence(run_dir):
    """Gaps are named as records are: by step and phase; where none were recorded there are none."""
    folder = run_dir / "records" / "03_blue_green_switch"
    assert evidence.frame(run_dir, "05_latency_report", "all/gaps").empty
    counted(np.full(500, 10_000), np.arange(500), phase="switch").to_parquet(folder / "itl-0.parquet")
    counted(np.full(90, 10_000), np.arange(90), phase="failing").to_parquet(folder / "itl-1.parquet")
    found = evidence.frame(run_dir, "05_latency_report", "03_blue_green_switch/gaps:switch")
    assert analysis.itl(found, by=()).iloc[0]["n"] == 500
    assert analysis.itl(evidence.frame(run_dir, "03_blue_green_switch", "gaps"), by=()).iloc[0]["n"] == 590
