"""Tables for people."""

import pandas as pd

from tailrace import analysis
from tailrace.report import markup, store, tables


def test_percentiles_with_intervals(run_dir):
    """A cell holds the value with its interval, or how many requests it needs."""
    table = tables.build("percentiles", store.loader(run_dir, "03_blue_green_switch"), by=["colour"])
    assert table["colour"].tolist() == ["blue", "green"]
    assert table["p99, ms"].str.fullmatch(r"1\d\d \[1\d\d, 1\d\d\]").all()
    assert table["p99.9, ms"].tolist() == ["n/a (needs 3,688)"] * 2


def test_no_records_are_said():
    """Without records n is 0 and every percentile says how many it needs; never 0 ms."""
    table = tables.build("percentiles", {"records": analysis.empty()}.__getitem__, by=[])
    assert table["n"].tolist() == ["0"]
    assert table["p50, ms"].tolist() == ["n/a (needs 6)"]
    assert table["max, ms"].tolist() == ["n/a"]


def test_failures_beside(run_dir):
    """With `adjusted`, percentiles in which failures are endless stand beside those of the successes."""
    arms = store.loader(run_dir, "04_load_test")
    table = tables.build("percentiles", arms, records="arms", adjusted=True).set_index("phase")
    assert table.loc["plain", "p99 with failures, ms"] == "∞"
    assert table.loc["retrying", "p99 with failures, ms"] == "260"


def test_judgements(run_dir):
    """Verdicts are badges with sign and word."""
    html = tables.draw("judgements", store.loader(run_dir, "03_blue_green_switch"), slo={"p99": 600})
    assert '<span class="badge" data-verdict="PASS">✓ PASS</span>' in html


def test_clients(run_dir):
    """The arms stand in the order that is asked for, with what they cost."""
    table = tables.build("clients", store.loader(run_dir, "04_load_test"), records="arms", order=["both", "plain"])
    assert table["phase"].tolist() == ["both", "plain"]
    assert table.loc[1, "from cache"] == "0 %"


def test_all_text_is_escaped():
    """Nothing in a frame becomes markup."""
    html = tables.draw("frame", {"frame": pd.DataFrame({"<b>": ["<script>"]})}.__getitem__, caption="<i>")
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<i>" not in html


def test_checks():
    """A check is its sign, its name and its fact; one without data is neither yes nor no."""
    html = tables.checks([{"name": "a", "ok": True, "fact": "1"}, {"name": "b", "ok": None, "fact": "&"}])
    assert html.count('data-verdict="PASS"') == 1
    assert html.count('data-verdict="INCONCLUSIVE"') == 1
    assert "&amp;" in html
    assert tables.checks([]) == "<p>No check was made.</p>"


def test_states():
    """A check's state is its own word when it has one, else what `ok` says."""
    said = [{"ok": True}, {"ok": False}, {"ok": None}, {"ok": None, "state": "SKIPPED"}, {}]
    assert [markup.state(d) for d in said] == ["PASS", "FAIL", "INCONCLUSIVE", "SKIPPED", "INCONCLUSIVE"]


def test_numbers_are_set_right():
    """Columns of numbers are set right, those of names are not, even when a name begins with a digit."""
    html = markup.table(pd.DataFrame({"step": ["03_switch"], "p99, ms": ["612 [588, 655]"], "n": ["1,200"]}))
    assert '<td style="text-align:left">03_switch</td>' in html
    assert '<td class="r">612 <small>[588, 655]</small></td>' in html
    assert '<td class="r">1,200</td>' in html
    assert 'left">2.7.1</td>' in markup.table(pd.DataFrame({"version": ["2.7.1"]}))
