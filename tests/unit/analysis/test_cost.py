"""Tokens and cost."""

import math

from tailrace import analysis


def test_cost_is_of_those_requests_whose_cost_is_known(make):
    """A stream's cost is not known: it is not in the cost, nor counted as nothing, and the table has the share."""
    records = make([1] * 4, outcome=["miss", "miss", "miss", "hit"], cost_microusd=[30, 30, -1, 0], in_tok=[10] * 4)
    (row,) = analysis.cost(records).to_dict("records")
    assert (row["requests"], row["from_cache"], row["tokens_in"], row["priced"]) == (4, 1, 40, 0.75)
    assert math.isclose(row["cost_usd"], 60e-6)
    assert math.isclose(row["usd_per_1000"], 0.02)


def test_no_price_is_no_cost_of_nothing(make):
    """Where no cost is known it is NaN, never 0."""
    (row,) = analysis.cost(make([1] * 3, cost_microusd=-1)).to_dict("records")
    assert row["priced"] == 0
    assert math.isnan(row["cost_usd"])
    assert math.isnan(row["usd_per_1000"])


def test_a_bill_counts_what_it_does_not_know(make):
    """Known costs are added up; what is not known is counted, and nothing known is no sum at all."""
    some = make([1] * 4, outcome=["miss", "hit", "miss", "miss"], cost_microusd=[500, 0, 250, -1])
    assert analysis.bill(some) == {"cost_usd": 750e-6, "unpriced": 1, "from_cache": 1}
    unknown = make([1] * 2, cost_microusd=-1)
    assert analysis.bill(unknown) == {"cost_usd": None, "unpriced": 2, "from_cache": 0}
