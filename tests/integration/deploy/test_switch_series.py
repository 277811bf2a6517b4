"""Several switches in a row, and how soon a bad one is taken back."""

import time

import pytest

from depth import scaled
from tailrace.errors import RolledBack

WINDOW_S = 0.5
SWITCHES = scaled(full=100, quick=6)


def acknowledged_ns(switched):
    """When the edge acknowledged the new routes."""
    return next(t_ns for state, t_ns, _ in switched.states if state == "switched")


def late(switches, answers):
    """Requests that were sent after an acknowledgement, before the next switch, and answered by the old colour."""
    begins = [switched.states[0][1] for switched in switches[1:]] + [time.perf_counter_ns()]
    return [
        row
        for switched, until in zip(switches, begins, strict=True)
        for row in answers
        if acknowledged_ns(switched) < row[0] < until and row[2] == switched.from_colour
    ]


def test_a_series_of_switches_loses_nothing(deployment, release, load):
    """Client and edge count the same, nothing fails, and no request goes to the old colour after an acknowledgement."""
    d = deployment(bake_s=0.2)
    built = release(d)
    d.up(built)
    before = d.counters()
    with load(d.url, rate=200) as traffic:
        switches = [d.switch(built.configured(N=str(n))) for n in range(SWITCHES)]
    counted = d.counters().since(before)
    assert traffic.failed == counted.failed == sum(switched.cut for switched in switches) == 0
    assert counted.requests == counted.completed == traffic.sent > 50 * SWITCHES
    assert [switched.to_colour for switched in switches] == ["green", "blue"] * (SWITCHES // 2)
    assert late(switches, traffic.answers) == []
    # The negative control: before the acknowledgement the old colour did answer, so it would have been seen after.
    assert {colour for sent_ns, _, colour in traffic.answers if sent_ns < acknowledged_ns(switches[0])} >= {"blue"}


@pytest.mark.alone
def test_after_the_window_that_shows_a_breach_traffic_is_back_within_a_second(deployment, release, load):
    """From the end of the first window, one second later no request is answered by the bad colour any more."""
    d = deployment(bake_s=10, smoke=(), gate={"window_s": WINDOW_S, "min_requests": 10})
    d.up(release(d))
    with load(d.url) as traffic:
        with pytest.raises(RolledBack, match="requests failed") as raised:
            d.switch(release(d, fail_every=2))
        time.sleep(0.5)
    at = {state: t_ns for state, t_ns, _ in raised.value.states}
    shown_ns = at["baking"] + WINDOW_S * 1e9
    back_s = (max(sent_ns for sent_ns, _, colour in traffic.answers if colour == "green") - shown_ns) / 1e9
    assert 0 < (at["rolling back"] - shown_ns) / 1e9 <= 1
    assert back_s <= 1
    assert {(outcome, c) for sent_ns, outcome, c in traffic.answers if sent_ns > at["rolling back"]} == {
        ("200", "blue")
    }


def test_without_a_gate_the_same_colour_would_have_stayed(deployment, release, load):
    """The negative control: it is the gate that takes it back."""
    d = deployment(bake_s=1, smoke=(), gate={"window_s": WINDOW_S, "max_error_rate": 1})
    d.up(release(d))
    with load(d.url) as traffic:
        assert d.switch(release(d, fail_every=2)).to_colour == "green"
    assert traffic.failed > 10
