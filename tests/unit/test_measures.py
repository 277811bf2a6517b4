"""The table of measures."""

import numpy as np

from tailrace import measures
from tailrace.records import Record


def test_every_column_of_a_measure_is_named():
    """The columns that readers load are those that the expressions use, and no others."""
    used = (
        " ".join(" ".join([m.value("intended"), *m.eligible, *m.known, m.void]) for m in measures.TABLE.values())
        + " outcome intended_ns"
    )
    assert {name for name in measures.COLUMNS if name in used} == set(measures.COLUMNS)
    assert set(measures.COLUMNS) <= set(Record._fields)


def test_a_dictionary_of_arrays_is_enough():
    """Measures need no pandas: one request of two is a stream that keeps its limit."""
    numbers = {"send_lag_us": 500, "service_us": 9_000, "ttfc_us": 2_000, "last_token_us": 8_000, "out_tok": 4}
    columns = {name: np.full(2, value) for name, value in numbers.items()}
    columns |= {"stream": np.array([True, False]), "outcome": np.array(["miss", "miss"])}
    assert measures.eligible(columns, ["latency", "ttft"]).tolist() == [True, False]
    assert measures.values(columns, measures.named("ttft"), "intended").tolist() == [2_500, 2_500]
    assert measures.values(columns, measures.named("tpot"), "sent").tolist() == [2_000_000, 2_000_000]
    assert measures.good(columns, {"ttft": 2.5, "tpot": 2.0}, "intended").all()
    assert not measures.good(columns, {"ttft": 2.4}, "intended").any()
