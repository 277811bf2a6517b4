"""A switch to a release whose start takes every processor."""

import pytest

import hungry_start
from hungry_start import HungryStart

LATE = {"stalled": True, "burn_s": 15.0, "rate": 100.0, "work_ms": 1.0}


@pytest.mark.alone
@pytest.mark.deep
def test_a_start_that_takes_every_processor_fails_no_request_of_the_old_one(tmp_path):
    """The old one is late, is asked all the same, and answers everything."""
    outcome = hungry_start.run(HungryStart(**LATE), tmp_path)
    assert outcome.switched
    assert outcome.edge.failed == len(outcome.failed) == 0
    assert outcome.edge.requests == len(outcome.before) + len(outcome.during) > 1000


@pytest.mark.alone
@pytest.mark.deep
def test_at_the_same_priority_and_with_an_edge_that_ejects_it_many_would_fail(tmp_path):
    """The negative control: the edge takes the late one for dead, and counts what it refused, as its users do."""
    outcome = hungry_start.run(HungryStart(start_nice=0, panic_percent=0, **LATE), tmp_path)
    refused = sum(count for ending, count in outcome.edge.by_edge.items() if "UH" in ending.flags)
    assert outcome.edge.failed == len(outcome.failed) >= refused > 20
