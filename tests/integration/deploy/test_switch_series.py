"""Several switches in a row, under one protocol and under many, and how soon a bad one is taken back."""

import time
from collections import Counter

import pytest

import switch_series
from depth import scaled
from mixed_load import PERIOD, Row
from switch_account import Account
from switch_series import Series
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


def accounts(series, home):
    """Bring up both deployments, switch them, and return the account of each."""
    with switch_series.deployments(series, home) as opened:
        return switch_series.run(series, opened, home)


@pytest.mark.alone
@pytest.mark.deep
def test_a_series_under_many_protocols_loses_nothing_but_what_bad_releases_fail(tmp_path):
    """WebSockets, gRPC, events and GETs, with TLS and without: clients, edge and servers count every request alike."""
    series = Series(count=4, rate=150, bad_every=2)
    for account in accounts(series, tmp_path):
        assert {row.kind for row in account.rows} == {kind for door, kind in PERIOD if door == account.door}
        assert (len(account.switches), len(account.rolled_back)) == series.planned == (2, 2)
        assert account.unexplained == [] == account.miscounted
        assert account.cut == 0
        assert len(account.rows) == account.edge.requests
        assert account.counted("begun", bad=False) == account.counted("finished", bad=False) > 300
        # The negative control: what the bad releases failed is counted, on both sides.
        assert account.edge.failed + account.answers_to_the_edge == len(account.failed) > 5
        assert {"fail", "die"} == {"die" if "died" in str(error) else "fail" for error in account.rolled_back}


@pytest.mark.alone
@pytest.mark.deep
def test_sessions_that_are_older_than_the_drain_are_cut_and_all_sides_count_the_same(tmp_path):
    """The negative control: the clients, the switch and the servers each count the sessions that the deadline cut."""
    series = Series(count=1, rate=150, bad_every=0, session_s=5, drain_timeout_s=0.1, grace_s=0)
    for account in accounts(series, tmp_path):
        cut = {row.kind for row in account.unexplained}
        assert cut <= {"websocket", "stream", "grpc-stream", "grpc-bidi"}
        assert cut & {"websocket", "grpc-stream"}
        assert account.cut == len(account.unexplained) == account.counted("cut", bad=False) >= 5
        assert account.miscounted == [f"{account.door}-0"]
        held = {measure.partition(": ")[2]: held for measure, _, _, held in account.lines()}
        assert not held["failed, by the clients"]
        assert not held["cut at a drain"]
        assert not held["begun and finished, by the servers; not as the clients"]


def row(outcome="200", release="web-1", sent_ms=0, kind="http"):
    return Row(int(sent_ms * 1e6), 1.0, "web", kind, outcome, "green", release)


def test_an_account_tells_a_request_that_one_side_did_not_count():
    """A release whose server finished fewer requests than its clients got, or was never heard of, is named."""
    account = Account("web", (1, 0), 1.0, rows=[row(), row(), row(release="web-2")])
    account.servers = {"web-1": Counter(begun=2, finished=2), "web-2": Counter(begun=1, finished=1)}
    assert account.miscounted == []
    account.servers["web-1"]["finished"] = 1
    del account.servers["web-2"]
    assert account.miscounted == ["web-1", "web-2"]


def test_an_account_excuses_a_failure_only_by_a_bad_release():
    """Its own answers, and those without a name in its time; not another release's, nor a failure at another time."""
    error = RolledBack("it died")
    error.states = (("smoked", int(10e6), ""), ("rolled back", int(20e6), ""))
    own, nameless = row("500", "web-2-bad", 15), row("503", "", 15)
    others, early, late = row("500", "web-1", 15), row("503", "", 8), row("503", "", 21)
    account = Account("web", (0, 1), 1.0, rolled_back=[error], rows=[own, nameless, others, early, late, row()])
    assert account.unexplained == [others, early, late]


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
