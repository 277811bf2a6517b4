"""Tables for people."""

from functools import partialmethod

import pandas as pd
import pytest

from tailrace import analysis
from tailrace.report import evidence, tables
from tailrace.verdict import state_of


def test_percentiles_with_intervals(run_dir):
    """A cell holds the value with its interval, or the number of requests that it needs."""
    table = tables.build("percentiles", evidence.Loader(run_dir, "03_blue_green_switch"), by=["colour"])
    assert table["colour"].tolist() == ["blue", "green"]
    assert table["p99, ms"].str.fullmatch(r"1\d\d \[1\d\d, 1\d\d\]").all()
    assert table["p99.9, ms"].tolist() == ["n/a (needs 3,688)"] * 2


def test_no_records_are_said():
    """Without records n is 0, and each percentile states how many requests it needs, never 0 ms."""
    table = tables.build("percentiles", {"records": analysis.empty()}.__getitem__, by=[])
    assert table["n"].tolist() == ["0"]
    assert table["p50, ms"].tolist() == ["n/a (needs 6)"]
    assert table["max, ms"].tolist() == ["n/a"]


def test_failures_beside(run_dir):
    """`adjusted` adds the percentiles in which failures are infinitely slow."""
    arms = evidence.Loader(run_dir, "04_load_test")
    table = tables.build("percentiles", arms, records="arms", adjusted=True).set_index("phase")
    assert table.loc["plain", "p99 of all"] == "∞"
    assert table.loc["retrying", "p99 of all"] == "260"


def test_judgements(run_dir):
    """A verdict is a badge with sign and word."""
    html = tables.draw("judgements", evidence.Loader(run_dir, "03_blue_green_switch"), slo={"p99": 600})
    assert '<span class="badge" data-verdict="PASS">✓ PASS</span>' in html


def test_clients(run_dir):
    """The forms of the client stand in the order of the option, with their cost."""
    table = tables.build("clients", evidence.Loader(run_dir, "04_load_test"), records="arms", order=["both", "plain"])
    assert table["phase"].tolist() == ["both", "plain"]
    assert table.loc[1, "from cache"] == "0 %"


def test_levels(run_dir):
    """Each form of the client has its levels, and the one that loses requests has overspent its budget."""
    load = evidence.Loader(run_dir, "04_load_test")
    table = tables.build("levels", load, records="arms", apdex_ms=100, limit_ms=300, error_rate=0.01).set_index("phase")
    assert table.loc["retrying", "of 1 % error budget spent"] == "0 %"
    assert float(table.loc["plain", "of 1 % error budget spent"].removesuffix(" %")) > 100
    nothing = {"records": analysis.empty()}.__getitem__
    table = tables.build("levels", nothing, apdex_ms=1, limit_ms=1, error_rate=0.1, by=[])
    assert table["Apdex at 1 ms"].tolist() == ["n/a"]


def test_comparison(run_dir):
    """The rows of a comparison begin with the primary metric; each has an interval and a verdict in words."""
    load = evidence.Loader(run_dir, "04_load_test")
    table = tables.build("comparison", load, records="arms", by="phase", a="plain", b="both")
    assert table["metric"].tolist() == ["p99 (primary)", "p50", "p95", "errors", "ttft_p95", "tpot_p50"]
    assert table.columns[2] == "both over plain"


def test_coverage():
    """The shares of the study are percentages; a share of no runs is n/a."""
    row = {"world": "w", "n": 2_000, "episodes": 3.0, "covered": 0.4, "covered_reliable": float("nan"), "reliable": 0.0,
           "textbook": 0.2}  # fmt: skip
    table = tables.build("coverage", {"coverage": pd.DataFrame([row])}.__getitem__)
    assert table.iloc[0].tolist() == ["w", "2,000", "3", "40 %", "0 %", "n/a", "20 %"]


def test_checks():
    """A check has a sign, a name and a fact; the sign of one without data is neither pass nor fail."""
    html = tables.checks([{"name": "a", "ok": True, "fact": "1"}, {"name": "b", "ok": None, "fact": "&"}])
    assert html.count('data-verdict="PASS"') == 1
    assert html.count('data-verdict="INCONCLUSIVE"') == 1
    assert "&amp;" in html
    assert tables.checks([]) == "<p>No check was made.</p>"


def test_states():
    """The state of a check is its own, or follows from `ok`."""
    documents = [{"ok": True}, {"ok": False}, {"ok": None}, {"ok": None, "state": "SKIPPED"}, {}]
    assert [state_of(d) for d in documents] == ["PASS", "FAIL", "INCONCLUSIVE", "SKIPPED", "INCONCLUSIVE"]


@pytest.mark.parametrize("name", ["03_blue_green_switch/records", "all/records", "all/records:!ramp *,both", "records"])
def test_large_records_are_not_loaded(run_dir, monkeypatch, name):
    """From LARGE records on, DuckDB computes the table from disk, equal to the last digit."""
    load, options = evidence.Loader(run_dir, "05_latency_report"), {"by": ["step", "phase"], "adjusted": True}
    small = tables.build("percentiles", load, records=name, **options)
    monkeypatch.setattr(evidence.Loader, "large", partialmethod(evidence.Loader.large, rows=1))
    monkeypatch.setattr(evidence.Loader, "__call__", None)
    pd.testing.assert_frame_equal(tables.build("percentiles", load, records=name, **options), small)


def test_a_few_records_are_loaded(run_dir):
    """Only records that are too many are computed from disk; other frames never are."""
    load = evidence.Loader(run_dir, "04_load_test")
    assert load.large("records") is None
    assert load.large("records", rows=1).folders == [run_dir / "records" / "04_load_test"]
    assert load.large("records:plain", rows=1).phases == ["plain"]
    assert load.large("arms", rows=1) is None
