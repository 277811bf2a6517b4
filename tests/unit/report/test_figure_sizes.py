"""A figure draws what its pixels can show, however many requests there are: its SVG stays small."""

import numpy as np
import pytest

from depth import scaled
from tailrace.report import catalogue

N = scaled(1_000_000, 200_000)
LARGEST_BYTES = 700_000


@pytest.fixture(scope="module")
def records(make_frame):
    """Many requests of two colours, four phases and three outcomes."""
    turn = np.arange(N)
    many = make_frame(N, N / 50, 3).assign(
        colour=np.where(turn < N // 2, "blue", "green"),
        phase=np.array(["a", "b", "c", "d"])[turn % 4],
        outcome=np.where(turn % 97 == 0, "error", np.where(turn % 3 == 0, "hit", "miss")),
    )
    return many.astype({"colour": "str", "phase": "str", "outcome": "str"})


OF_RECORDS = sorted(name for name in set(catalogue.FIGURES) - {"probes", "history"} if "benchmark" not in name)


@pytest.mark.parametrize("name", OF_RECORDS)
def test_the_size_of_a_figure_is_bounded(records, name):
    """The figure of single requests stays below 700 kB, all others below 100 kB."""
    size = len(catalogue.draw(name, {"records": records}.__getitem__).svg())
    assert size < (LARGEST_BYTES if name == "switch" else 100_000)


def test_a_point_per_request_would_be_too_large(records):
    """The bound matters: a vector mark for each request would already exceed it."""
    assert len(records) * len('<use href="#m" x="1" y="1"/>') > LARGEST_BYTES
