"""What users got of a rollout, by stretch and by who made each failure, and when that is no success."""

import pytest

from tailrace.deploy.account import UNTOUCHED, Ledger, Tally
from tailrace.profile import GateLimits

LIMITS = GateLimits(min_requests=20, max_error_rate=0.02)
UNHEALTHY = "503: no healthy upstream, of blue"


def tally(state: str, requests: int, **more) -> Tally:
    """A reading at 1 s a state; `edge` and `blue` or `green` are failures by who made them."""
    t_s = ["locked", "started", "ready", "switched", "baked", "done"].index(state)
    sent = {"blue": requests, "green": more.get("on_green", 0)}
    by_instance = {"blue": more.get("blue", 0), "green": more.get("green", 0)}
    by_edge = {UNHEALTHY: more["edge"]} if "edge" in more else {}
    return Tally(state, t_s * 10**9, more.get("uptime_s", 100 + t_s), 0, requests, requests, sent, by_edge, by_instance)


def settle(*tallies: Tally, remedied: str = ""):
    return Ledger(list(tallies)).settle(LIMITS, remedied)


def test_a_rollout_of_which_users_felt_nothing_is_a_success():
    """Negative control: no failure, no reason."""
    account = settle(tally("locked", 0), tally("started", 100), tally("done", 300))
    assert (account.requests, account.failed, account.refused, account.felt) == (300, 0, 0, "")
    assert account.text == "300 requests, 0 failed"
    assert UNTOUCHED.felt == ""


def test_one_failure_that_the_edge_made_is_no_success_and_is_told_with_its_stretch():
    """How many of how many, in which stretch, made by whom, and of which colour."""
    account = settle(tally("locked", 0), tally("started", 100), tally("ready", 750, edge=1), tally("done", 800, edge=1))
    assert account.felt == "users got 1 failure that the edge made"
    told = "1 of 800 requests failed: 1 of 650 between started and ready, by the edge (1 × 503: no healthy upstream"
    assert account.text.startswith(told)
    assert [stretch.refused for stretch in account.stretches] == [0, 1, 0]


@pytest.mark.parametrize("colour", ["blue", "green"])
def test_either_colour_is_held_against_the_gate_in_every_stretch(colour):
    """Whole, 3 % of one stretch are below the limit; in that stretch they are not. Negative control: 2 %."""
    failed = {"on_green": 0}, {"on_green": 100, colour: 3}, {"on_green": 1000, colour: 3}
    states, seen = ("started", "ready", "switched"), (0, 100, 1000)
    account = settle(*(tally(s, n, **f) for s, n, f in zip(states, seen, failed, strict=True)))
    assert account.felt == f"{colour} failed 3 of its 100 requests between started and ready; limit 2.0%"
    fewer = [{name: min(count, 2) if name == colour else count for name, count in f.items()} for f in failed]
    account = settle(*(tally(s, n, **f) for s, n, f in zip(states, seen, fewer, strict=True)))
    assert (account.felt, account.failed) == ("", 2)


def test_a_rollback_is_not_held_against_what_it_goes_away_from():
    """The failures are told all the same."""
    tallies = tally("locked", 0), tally("switched", 100, blue=90), tally("done", 200, blue=90)
    assert settle(*tallies).felt
    account = settle(*tallies, remedied="blue")
    assert (account.felt, account.failed) == ("", 90)
    assert "90 × 5xx by blue" in account.text


def test_too_few_requests_are_no_rate():
    """As for the gate."""
    assert settle(tally("locked", 0), tally("done", 19, blue=19)).felt == ""


def test_an_edge_that_was_started_anew_in_the_middle_is_no_success():
    """What it had counted is gone, and so is whom it refused meanwhile; nothing is counted twice, or below zero."""
    account = settle(tally("locked", 500, edge=5), tally("ready", 40, uptime_s=1), tally("done", 60, uptime_s=4))
    assert account.felt.startswith("the edge was started anew between locked and ready")
    assert (account.requests, account.refused) == (60, 0)


def test_an_account_is_continued_from_the_journal():
    """A controller that died has left its readings there."""
    written = [tally("locked", 0).document(), tally("ready", 100, edge=7).document()]
    account = Ledger([*(Tally(**document) for document in written), tally("done", 120, edge=7)]).settle(LIMITS)
    assert account.refused == 7
    assert account.document()["stretches"][0]["by_edge"] == {UNHEALTHY: 7}
