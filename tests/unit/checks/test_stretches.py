"""Failures are judged in every stretch of a switch, whoever made them; each check can fail."""

import pyarrow as pa
import pytest

from tailrace.checks import stretches
from tailrace.deploy.account import Account, Stretch
from tailrace.deploy.outcome import DeployOutcome

S = 1_000_000_000
STATES = ("locked", "started", "ready", "switched", "rolling back", "rolled back")
FAILED = {"outcome": "error", "error_type": "http_503", "status": 503, "service_us": 1_000}
HANGED = {"outcome": "error", "error_type": "timeout", "status": 0, "colour": "", "service_us": 1_000}


def outcome(*made: Stretch, result: str = "rolled back", to: str = "blue") -> DeployOutcome:
    """States one second apart, from 1.5 s on: a request of `records` lies in the middle of each stretch."""
    states = tuple((state, int((1.5 + i) * S), "") for i, state in enumerate(STATES))
    return DeployOutcome(result, "", to, states, account=Account(made or (stretch("locked", "started"),)))


def stretch(begun: str, ended: str, by_edge=None, by_instance=None, restarted: bool = False) -> Stretch:
    return Stretch(begun, ended, 1.0, 100, {"blue": 100}, by_edge or {}, by_instance or {}, restarted)


def states(checks) -> list[str]:
    return [check.state for check in checks]


def at(records, second: int, **failure):
    """Eight requests a second apart, of which the one due at `second` failed."""
    return records(*[failure if i == second else {} for i in range(8)])


def test_a_switch_that_nobody_felt_passes(records):
    """Negative control: no failure, and both checks say of how many."""
    checks = stretches.unharmed(records(*[{}] * 8), outcome(result="switched", to="green"), "switch")
    assert states(checks) == ["PASS", "PASS"]
    assert checks[0].fact == "0 of 8 requests, in 7 stretches"


@pytest.mark.parametrize("second", range(8))
@pytest.mark.parametrize("colour", ["blue", ""])
def test_a_failure_that_the_bad_release_did_not_make_is_seen_in_every_stretch(records, second, colour):
    """The good, old colour in any of them; a request without an answer unless all traffic was on the bad one."""
    failure = FAILED if colour else HANGED
    (client, _) = stretches.unharmed(at(records, second, **failure), outcome(), "failing")
    excused = not colour and second == 5
    assert client.state == ("PASS" if excused else "FAIL")
    assert excused or client.fact.startswith("1 of 8 requests failed: 1 ")


def test_the_old_colour_that_fails_before_the_bad_release_has_traffic_is_told_with_its_stretches(records):
    """Fourteen seconds of nothing but 503 are no detail of somebody else's failure."""
    rows = records(*[{}, {}, FAILED, FAILED, FAILED, {}, {}])
    (client, _) = stretches.unharmed(rows, outcome(), "failing")
    assert client.state == "FAIL"
    assert client.fact == (
        "3 of 7 requests failed: 1 between locked and started (1 of blue); "
        "1 between started and ready (1 of blue); 1 between ready and switched (1 of blue)"
    )


@pytest.mark.parametrize(("second", "state"), [(4, "FAIL"), (5, "PASS"), (6, "FAIL"), (7, "FAIL")])
def test_the_bad_release_may_fail_from_its_switch_on_and_not_after_the_rollback(records, second, state):
    """Before it, it serves a share and has no excuse."""
    (client, _) = stretches.unharmed(at(records, second, **FAILED | {"colour": "green"}), outcome(), "failing")
    assert client.state == state


def test_a_request_that_the_bad_release_had_before_its_switch_may_fail_after_it(records):
    """It was sent at 4 s, before the switch at 4.5 s, and it failed a second later."""
    late = FAILED | {"colour": "green", "service_us": 1_000_000}
    (client, _) = stretches.unharmed(at(records, 4, **late), outcome(), "failing")
    assert client.state == "PASS"


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (stretch("switched", "rolling back", {"503: connection refused, of green": 5}, {"green": 3}), "PASS"),
        (stretch("switched", "rolling back", {"503: no healthy upstream, of blue": 1}), "FAIL"),
        (stretch("switched", "rolling back", {}, {"blue": 1}), "FAIL"),
        (stretch("started", "ready", {}, {"green": 1}), "FAIL"),
        (stretch("started", "ready", {"503: no healthy upstream, of blue": 1}), "FAIL"),
        (stretch("started", "ready", restarted=True), "FAIL"),
    ],
    ids=["its own", "edge, of blue", "blue", "green too early", "edge too early", "restarted"],
)
def test_the_edges_counters_are_held_against_every_stretch(records, made, state):
    """The same rule, from the other side."""
    (_, edge) = stretches.unharmed(records({}), outcome(made), "failing")
    assert edge.state == state


def test_without_evidence_nothing_is_decided(records):
    """No request, no reading, no candidate."""
    nothing = DeployOutcome("refused", "", "blue", ())
    assert states(stretches.unharmed(records(), nothing, "never ready")) == ["INCONCLUSIVE", "INCONCLUSIVE"]
    skipped = DeployOutcome("skipped", "not here", "", ())
    assert states(stretches.unharmed(records({}), skipped, "failing")) == ["SKIPPED", "SKIPPED"]


def test_only_a_release_that_was_rolled_back_under_traffic_may_have_failed():
    """One that switched well has no excuse."""
    assert stretches.bad_colour(outcome()) == "green"
    assert stretches.bad_colour(outcome(result="switched", to="green")) == ""
    assert stretches.bad_colour(DeployOutcome("rolled back", "", "blue", ())) == ""


def test_the_table_has_both_counts_of_each_stretch(records):
    """What was not counted is missing, not zero."""
    made = stretch("locked", "started", {"503: no healthy upstream, of blue": 2}, {"blue": 1})
    frame = stretches.table(at(records, 2, **FAILED), outcome(made), "failing")
    assert list(frame["requests"]) == [2, 1, 1, 1, 1, 1, 1]
    row = frame[frame["from"] == "locked"].iloc[0]
    assert list(row[["failed", "failed by the edge", "5xx by blue", "5xx by green"]]) == [1, 2, 1, 0]
    assert frame["failed by the edge"].isna().sum() == 6


def test_the_table_of_a_page_says_where_the_edge_was_not_read(records):
    """With a dash, and not with the name of a missing value; where it was read, with its count."""
    rows = records(*[{"phase": "switch"}] * 8)
    shown = stretches.tables(rows, {"switch": outcome(result="switched", to="green")})
    by_edge = shown.set_index("from")["failed by the edge"]
    assert (by_edge["locked"], by_edge["ready"]) == ("0", "–")
    assert isinstance(pa.Table.from_pandas(shown), pa.Table), "it is kept as a file of columns"
