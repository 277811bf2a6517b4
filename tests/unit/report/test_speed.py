"""Figures of a million requests."""

import time

import numpy as np
import pytest

from tailrace.report import catalogue

N = 1_000_000


@pytest.fixture(scope="module")
def million(make_frame):
    records = make_frame(N, 20_000.0, 3)
    turn = np.arange(N)
    records = records.assign(
        colour=np.where(turn < N // 2, "blue", "green"),
        phase=np.array(["a", "b", "c", "d"])[turn % 4],
        outcome=np.where(turn % 97 == 0, "error", np.where(turn % 3 == 0, "hit", "miss")),
    )
    return records.astype({"colour": "str", "phase": "str", "outcome": "str"})


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(catalogue.FIGURES) - {"probes", "history"}))
def test_a_second_for_a_million(million, name):
    """Each figure takes at most a second of CPU for a million requests, from the frame to its SVG."""
    took = []
    for _ in range(2):
        began = time.process_time()
        catalogue.draw(name, {"records": million}.__getitem__).svg()
        took.append(time.process_time() - began)
    assert min(took) <= 1.0
