import math

import pandas as pd

from tailrace import bench


def test_the_frontier_holds_what_nothing_beats(rows):
    """`a` is better in both at each load, so `b` is never on it; the control is `a` made slower."""
    table = bench.pareto(rows)
    assert set(table[table["best"]]["target"]) == {"a"}
    slower = rows.assign(tokens_per_s_user=rows["tokens_per_s_user"].where(rows["target"] == "b", 1.0))
    table = bench.pareto(slower)
    assert "b" in set(table[table["best"]]["target"])


def test_an_invalid_cell_is_on_no_frontier(rows):
    """A measurement that does not count decides nothing."""
    table = bench.pareto(rows.assign(valid=rows["target"] == "b"))
    assert set(table[table["best"]]["target"]) == {"b"}


def test_the_load_to_run_at_has_the_highest_goodput_that_suffices(plan, rows):
    """`b` at 8 serves 40 requests/s, of which half are good: it runs at 1."""
    choice = bench.choose(rows, plan).set_index(["target", "input_tokens"])
    assert choice.loc[("a", 64), "level"] == 8
    assert choice.loc[("b", 64), "level"] == 1
    assert choice.loc[("b", 64), "goodput_rps"] == 5


def test_replicas_carry_the_demand(plan, rows):
    """25 requests/s over 80 each is one replica, over 5 each it is five; a price only where one is known."""
    choice = bench.choose(rows, plan).set_index(["target", "input_tokens"])
    assert choice.loc[("a", 64), "replicas"] == 1
    assert choice.loc[("a", 64), "usd_per_hour"] == 3.6
    assert choice.loc[("b", 64), "replicas"] == 5
    assert math.isnan(choice.loc[("b", 64), "usd_per_hour"])


def test_no_load_suffices(plan, rows):
    """A target that never keeps the limits has no load, no replicas, and fails the check."""
    choice = bench.choose(rows.assign(good_share=0.1), plan)
    assert choice["level"].isna().all()
    assert (choice["replicas"] == 0).all()
    ok, fact = bench.meets(choice, rows)
    assert ok is False
    assert "no load" in fact
    assert bench.meets(bench.choose(rows, plan), rows)[0]


def test_a_slower_target_is_found(rows):
    """Twice the time in every pair, each figure with its own p-value; the control compares `a` with itself."""
    table = bench.contrast(rows, "a", "b").set_index("metric")
    assert table.loc["ttft_p50_ms", "verdict"] == "higher"
    assert table.loc["ttft_p50_ms", "primary"]
    assert table.loc["ttft_p50_ms", "ratio"] == 2.0
    assert table.loc["ttft_p50_ms", "pairs"] == 8
    assert table.loc["tokens_per_s", "verdict"] == "lower"
    a = rows[rows["target"] == "a"]
    same = bench.contrast(pd.concat([a, a.assign(target="b")]), "a", "b")
    assert set(same["verdict"]) == {"no difference shown"}


def test_too_few_pairs_decide_nothing(rows):
    """Five pairs can give no p-value below 0.05."""
    few = rows[(rows["level"] == 1) & (rows["input_tokens"] == 64)]
    assert bench.contrast(few, "a", "b")["verdict"].str.startswith("n/a").all()


def test_tokens_that_are_not_the_planned_ones_fail(rows):
    """Ten percent less output than planned is not the cell that the grid names."""
    assert bench.as_planned(rows)[0]
    ok, fact = bench.as_planned(rows.assign(out_tok=28.8))
    assert not ok
    assert "output by at most -10.0%" in fact
    assert bench.as_planned(rows.assign(in_tok=math.nan))[0] is None


def test_a_busy_machine_decides_nothing(plan, rows):
    """A cell whose generator was late leaves both checks open; one without a success fails, whatever the others say."""
    late = rows.assign(valid=False, reasons="the generator was late")
    assert bench.validity(late)[0] is None
    assert bench.meets(bench.choose(late, plan), late)[0] is None
    silent = late.assign(reasons=late["reasons"].where(late["target"] == "a", ""))
    assert bench.validity(silent)[0] is False
    assert bench.meets(bench.choose(silent, plan), silent)[0] is False
    assert bench.validity(rows)[0] is True


def test_reasons_are_bounded(rows):
    """Of many invalid cells a sentence names five."""
    _, fact = bench.validity(rows.assign(valid=False, reasons="the generator was late"))
    assert fact.count("the generator was late") == 5
    assert fact.endswith(" …")
