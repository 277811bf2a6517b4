"""Several variants side by side."""

import numpy as np
import pandas as pd
import pytest

from tailrace.analysis.variants import variants


def test_counts(make):
    """Success, hits, upstream calls and cost are counted per arm; an unknown price is NaN, never free."""
    records = pd.concat([
        make(np.full(90, 5), phase="cached", outcome="hit", attempts=0),
        make(np.full(10, 5), phase="cached", attempts=2, cost_microusd=500),
        make(np.full(9, 5), phase="plain", cost_microusd=-1),
        make([5], phase="plain", outcome="error"),
    ])  # fmt: skip
    table = variants(records).set_index("phase")
    assert table.loc["cached", ["hit_rate", "upstream_calls", "calls_per_request"]].tolist() == [0.9, 20, 0.2]
    assert table.loc["cached", "cost_usd"] == pytest.approx(0.005)
    assert np.isnan(table.loc["plain", "cost_usd"])
    assert table.loc["plain", "success_rate"] == 0.9
    assert table.loc["plain", "n"] == 9
