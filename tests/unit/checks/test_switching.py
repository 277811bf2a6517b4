"""The checks of the switch pass, fail or stay undecided, and each can fail."""

import pytest

from tailrace.checks import switching
from tailrace.deploy import Counters
from tailrace.deploy.outcome import DeployOutcome
from tailrace.load import Summary

S = 1_000_000_000
FAILED = {"outcome": "error", "error_type": "http_503", "status": 503}


def counted(requests: int, answers_5xx: int = 0, cut: int = 0) -> Counters:
    return Counters(0, requests, requests, 0, requests - answers_5xx, 0, 0, answers_5xx, cut, 0, 0, {})


def states(checks) -> dict[str, str]:
    return {check.name: check.state for check in checks}


def test_zero_failed_holds_when_both_sides_counted_the_same(records):
    """Requests that all succeeded, and that the edge counted as well, are zero failed and zero unexplained."""
    reconciled = switching.reconcile(records({}, {}, {}), counted(3))
    assert (reconciled.requests, reconciled.failed, reconciled.unexplained, reconciled.zero) == (3, 0, 0, True)


def test_a_failed_request_is_not_zero(records):
    """One failure that both sides saw is a failure, and explained."""
    reconciled = switching.reconcile(records({}, FAILED), counted(2, answers_5xx=1))
    assert (reconciled.failed, reconciled.unexplained, reconciled.zero) == (1, 0, False)
    assert states(reconciled.checks())["no request failed"] == "FAIL"


@pytest.mark.parametrize("edge", [counted(1), counted(3), counted(2, answers_5xx=1), counted(2, cut=1)])
def test_a_difference_between_the_counts_is_unexplained(records, edge):
    """A request that only one side counted, or that only the edge saw fail, is not explained away."""
    reconciled = switching.reconcile(records({}, {}), edge)
    assert reconciled.unexplained == 1
    assert states(reconciled.checks())["client and edge counted the same"] == "FAIL"


def test_a_request_that_never_arrived_is_not_expected_at_the_edge(records):
    """A refused connection is a failure; the edge cannot have counted it."""
    reconciled = switching.reconcile(
        records({}, {"outcome": "error", "error_type": "connect", "status": 0}), counted(1)
    )
    assert (reconciled.failed, reconciled.unexplained) == (1, 0)


def test_no_records_decide_nothing(records):
    """Without a request, zero failures prove nothing."""
    reconciled = switching.reconcile(records(), counted(0))
    assert reconciled.zero is None
    assert set(states(reconciled.checks()).values()) == {"INCONCLUSIVE"}


def outcome(result: str, *reached: tuple[str, float], to: str = "green", why: str = "", cut: int = 0) -> DeployOutcome:
    return DeployOutcome(result, why, to, tuple((state, int(at * S), "") for state, at in reached), cut)


def test_a_new_request_on_the_old_colour_after_the_acknowledgement_is_seen(records):
    """What was sent before the acknowledgement may be on blue; what was sent after it may not."""
    done = outcome("switched", ("switched", 1.5))
    well = switching.no_request_on_old(records({}, {}, {"colour": "green"}), done)
    badly = switching.no_request_on_old(records({}, {}, {"colour": "blue"}), done)
    nothing = switching.no_request_on_old(records({}, {}), done)
    assert (well.state, badly.state, nothing.state) == ("PASS", "FAIL", "INCONCLUSIVE")


def test_a_refused_release_decides_nothing_about_the_old_colour(records):
    """The edge acknowledged nothing, so there is no moment after it."""
    assert switching.no_request_on_old(records({}, {}), outcome("refused")).state == "INCONCLUSIVE"


def test_cut_answers_are_reported():
    """A drain that ended at its deadline fails the check."""
    assert switching.no_answer_cut(outcome("switched")).state == "PASS"
    assert switching.no_answer_cut(outcome("switched", cut=2)).state == "FAIL"


def test_users_must_not_notice_a_release_that_never_gets_ready(records):
    """Refused, no traffic, no failure: each of the three can fail on its own."""
    blue = records({}, {})
    assert set(states(switching.refused(blue, outcome("refused", to="blue"))).values()) == {"PASS"}
    taken = states(switching.refused(blue, outcome("switched", to="blue")))
    assert taken["a release that never gets ready is refused"] == "FAIL"
    served = states(switching.refused(records({}, {"colour": "green"}), outcome("refused", to="blue")))
    assert served["a release that never gets ready gets no traffic"] == "FAIL"
    failed = states(switching.refused(records({}, FAILED), outcome("refused", to="blue")))
    assert failed["a release that never gets ready fails no request"] == "FAIL"


def test_a_rollback_has_to_be_soon_and_for_good(records):
    """Too late, not at all, or with failures after it: the check fails."""
    back = outcome("rolled back", ("switched", 1.0), ("rolling back", 2.5))
    sent = records({}, {}, FAILED, {}, {})
    assert set(states(switching.rolled_back(sent, back, 2.0)).values()) == {"PASS"}
    assert switching.rolled_back(sent, back, 1.0)[0].state == "FAIL"
    assert switching.rolled_back(sent, outcome("switched", ("switched", 1.0)), 2.0)[0].state == "FAIL"
    assert switching.rolled_back(records({}, {}, {}, {}, FAILED), back, 2.0)[1].state == "FAIL"


def summary(*reasons: str) -> Summary:
    return Summary("open", 10, 10, 10, 0, 10.0, 10.0, 1.0, 0.4, 0.9, 0.1, 0.3, not reasons, reasons, {})


def test_a_late_generator_decides_nothing():
    """A late generator puts the numbers in doubt; it says nothing against the service."""
    assert switching.kept_schedule([summary()]).state == "PASS"
    assert switching.kept_schedule([summary(), summary("it lagged")]).state == "INCONCLUSIVE"
    assert switching.kept_schedule([]).state == "INCONCLUSIVE"


def test_lag_is_read_off_the_records_as_well(records):
    """Records alone tell whether they were sent when they were due."""
    assert switching.on_schedule(records(*[{}] * 50)).state == "PASS"
    assert switching.on_schedule(records(*[{"send_lag_us": 30_000}] * 50)).state == "INCONCLUSIVE"
    assert switching.on_schedule(records()).state == "INCONCLUSIVE"


def test_streams_are_counted_apart_and_claimed_only_when_there_were_any(records):
    """A failed stream fails the check; without streams nothing is said about them, and why."""
    whole, cut = {"stream": True}, {"stream": True, "outcome": "error", "error_type": "cut_stream"}
    assert switching.no_stream_cut(records(whole, whole, {"stream": False})).fact == "0 of 2 streams failed"
    assert switching.no_stream_cut(records(whole, cut)).state == "FAIL"
    none = switching.no_stream_cut(records({"stream": False}), "service.api is http")
    assert (none.state, none.fact) == ("SKIPPED", "service.api is http")
    assert "stream_share is 0" in switching.no_stream_cut(records({"stream": False})).fact
