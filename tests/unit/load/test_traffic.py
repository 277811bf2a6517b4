"""The order survives its way to another process."""

import json
from pathlib import Path

import pytest

from tailrace.load import Trace, Traffic, Weighted, Workload, arrivals
from tailrace.load.lengths import lognormal
from tailrace.load.traffic import restore


@pytest.mark.parametrize(
    "when",
    [
        arrivals.poisson(5, 2, 3),
        arrivals.gamma(5, 2, 3),
        arrivals.on_off(5, 1, 1, 3),
        arrivals.users(4, 2, 0.5, 1),
        Trace(Path("a.csv"), speed=60),
    ],
)
def test_comes_back_from_json(when):
    """What was described as JSON is restored as an equal order."""
    what = Workload(models=(Weighted("a"), Weighted("b", 2)), max_tokens=lognormal(5, 0.5), extra={"top_p": 1})
    traffic = Traffic(when, what, 2, 5.0, "phase", "step", "run")
    assert restore(json.loads(json.dumps(traffic.describe()))) == traffic


def test_the_loop_is_named():
    """A schedule is an open loop, users are a closed one."""
    assert Traffic(arrivals.constant(1, 1)).loop == "open"
    assert Traffic(arrivals.users(1, 1)).loop == "closed"
