"""A release whose first token is late, and whose answers are all right: only its own metrics show it."""

import pytest

from tailrace.errors import RolledBack

LATE = {"ttft_ms": {"p95": 60}}


@pytest.fixture
def up(deployment, release):
    """Bring up a fast release behind gates of the given SLO, with room for latency: the edge's half sees nothing."""

    def start(slo, **options):
        d = deployment(slo=slo, bake_s=3.0, gate={"window_s": 0.4, "min_requests": 10, "latency_floor_ms": 2_000})
        d.up(release(d, name="first", **options))
        return d

    return start


def test_a_late_first_token_is_rolled_back(up, release, load):
    """Every request succeeds; the gate reads the service's own histogram and takes the traffic back."""
    d = up(LATE)
    late = r"ttft p95 by its own metrics: \d+ of \d+ took more than 60 ms"
    with load(d.url, 100, streams=0.5) as traffic, pytest.raises(RolledBack, match=late):
        d.switch(release(d, name="late", first_token_s=0.2))
    assert traffic.failed == 0
    assert d.status().serving == "blue"
    assert "ttft p95 by its own metrics" in d.status().last


def test_without_the_limit_it_goes_through(up, release, load):
    """The negative control: the same release, under an SLO that says nothing of tokens."""
    d = up({"latency_ms": {"p95": 5_000}})
    with load(d.url, 100, streams=0.5) as traffic:
        switched = d.switch(release(d, name="late", first_token_s=0.2))
    assert (traffic.failed, switched.to_colour) == (0, "green")
    assert "ttft" not in d.status().last


def test_a_release_that_was_as_late_before_is_kept(up, release, load):
    """What the old colour did as well is no reason to go back to it."""
    d = up(LATE, first_token_s=0.2)
    with load(d.url, 100, streams=0.5):
        switched = d.switch(release(d, name="as late", first_token_s=0.2))
    assert switched.to_colour == "green"
    assert "ttft p95 kept by its own metrics" in d.status().last


def test_a_service_that_tells_nothing_is_not_passed_in_silence(up, release, load):
    """The switch goes through, and journal and status say that its first tokens were not judged, and why."""
    d = up(LATE, no_metrics=1)
    with load(d.url, 100, streams=0.5):
        switched = d.switch(release(d, name="silent", first_token_s=0.2, no_metrics=1))
    facts = {state: fact for state, _, fact in switched.states}
    assert "ttft p95 not judged" in facts["baked"]
    assert "answered 404" in facts["done"]
    assert "ttft p95 not judged" in d.status().last
