"""Answers that last longer than the switch: one minute of server-sent events."""

import time

import pytest

from tailrace.checks import switching
from tailrace.deploy.outcome import DeployOutcome

MINUTE = {"rate": 10, "streams": 0, "path": "/stream?s=60", "timeout_s": 90}


def verdict(switched):
    """What the step says about a switch that cut so many."""
    return switching.no_answer_cut(DeployOutcome("switched", "", switched.to_colour, switched.states, switched.cut))


@pytest.mark.deep
def test_streams_of_a_minute_end_whole_across_a_switch(deployment, release, load):
    """The old colour waits for the last of them, while the new one has the traffic for all of that time."""
    d = deployment(drain_timeout_s=90, bake_s=1)
    d.up(release(d))
    before = d.counters()
    streams = load(d.url, **MINUTE)
    with load(d.url, rate=100) as traffic, streams:
        time.sleep(1)
        streams.stop()
        switched = d.switch(release(d, name="second"))
    at = {state: t_ns for state, t_ns, _ in switched.states}
    counted = d.counters().since(before)
    assert {(outcome, colour) for _, outcome, colour in streams.answers} == {("200", "blue")}
    assert streams.sent >= 8
    assert (at["drained"] - at["switched"]) / 1e9 > 50
    assert traffic.failed == counted.failed == switched.cut == 0
    assert counted.requests == counted.completed == traffic.sent + streams.sent
    assert {colour for sent_ns, _, colour in traffic.answers if sent_ns > at["switched"]} == {"green"}
    assert verdict(switched).state == "PASS"


def test_streams_of_a_minute_that_pass_the_deadline_are_cut_and_it_is_said(deployment, release, load):
    """The negative control: the deadline is kept, every cut stream is counted, and the verdict is not "zero"."""
    d = deployment(drain_timeout_s=1, stop_grace_s=0.5)
    d.up(release(d))
    before = d.counters()
    with load(d.url, **MINUTE) as streams:
        time.sleep(1)
        streams.stop()
        switched = d.switch(release(d, name="second"))
    facts = {state: fact for state, _, fact in switched.states}
    assert switched.cut == streams.failed == streams.sent == d.counters().since(before).failed >= 8
    assert f"still has {switched.cut} requests after 1." in facts["drained"]
    assert facts["retired"].endswith(f"{switched.cut} requests cut")
    assert facts["done"].endswith(f"{switched.cut} requests cut")
    assert verdict(switched).state == "FAIL"
    assert f"{switched.cut} requests were cut" in verdict(switched).fact
