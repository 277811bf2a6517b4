"""All numbers of a load at once."""

import numpy as np
from tests.unit.analysis.test_gaps import counted
from tests.unit.analysis.test_measured import streams

from tailrace import analysis


def test_every_measure_has_its_rows(make):
    """Streams have all measures, with the numbers of the single tables; tokens and goodput stand beside them."""
    records = streams(make, np.full(400, 20.0), 5.0, 9, planned_out_tok=8)
    gaps = counted(np.full(3_200, 5_000), np.arange(3_200) % 20)
    found = analysis.overview(records, gaps, {"ttft": 30.0})
    assert found.times[["measure", "from"]].values.tolist() == [
        ["latency", "intended"], ["latency", "sent"], ["ttft", "intended"], ["ttft", "sent"], ["tpot", "sent"],
        ["itl", "sent"],
    ]  # fmt: skip
    assert found.times["p99_ms"].round(1).tolist() == [60.5, 60.5, 20.0, 20.0, 5.0, 5.0]
    assert (found.tokens["out_tok"], found.goodput["good"]) == (3_600, 400)
    assert found.deviations == ["output tokens deviate by +12.5% from the plan (limit 2%)"]


def test_without_streams_there_is_latency(make):
    """Plain answers have latency from both starts, and no other row; without limits there is no goodput."""
    found = analysis.overview(make(np.full(100, 9_000)))
    assert found.times["measure"].tolist() == ["latency", "latency"]
    assert found.goodput is None
    assert analysis.overview(analysis.empty()).times["n"].tolist() == [0, 0]
