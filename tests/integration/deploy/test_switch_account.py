"""What users got while a rollout was under way is in its account, whoever made the failures, and to the last one."""

import time

import pytest

from tailrace.errors import RolledBack


def when(state, act):
    return lambda reached, *_: act() if reached == state else None


def test_what_the_edge_refused_is_counted_by_stretch_and_is_no_success(deployment, release, load):
    """Without an endpoint the edge answers 503 by itself; the switch ends well, and says that it was none for users."""
    d = deployment()
    d.up(release(d))
    blue = d.serving

    def take_away() -> None:
        d.edge.point("blue", None)
        time.sleep(0.5)
        d.edge.point("blue", blue.upstream(d.profile.service.acceptance))
        time.sleep(1.0)

    with load(d.url) as traffic:
        done = d.switch(release(d, name="second"), observe=when("ready", take_away))
    account = done.account
    hit = {(stretch.begun, stretch.ended): stretch.refused for stretch in account.stretches if stretch.failed}
    assert hit == {("ready", "warm"): account.refused}
    assert account.failed == account.refused == traffic.failed > 10
    assert "failures that the edge made" in account.felt
    assert f"{account.refused} × 503: no healthy upstream, of blue" in d.history()[-1].why
    assert d.counters().by_instance == {"blue": 0, "green": 0}


def test_a_switch_that_users_did_not_feel_is_a_success(deployment, release, load):
    """Negative control: every request is in the account, and none failed."""
    d = deployment()
    d.up(release(d))
    with load(d.url) as traffic:
        account = d.switch(release(d, name="second")).account
    assert (account.failed, account.felt) == (0, "")
    assert 0 < account.requests <= traffic.sent
    assert [stretch.begun for stretch in account.stretches][:3] == ["locked", "prepared", "started"]


def test_what_a_bad_release_answers_itself_is_its_own(deployment, release, load):
    """The 5xx of green are by green, not by the edge, and in the account of the rollback, too."""
    d = deployment(bake_s=10, smoke=())
    d.up(release(d))
    with load(d.url) as traffic, pytest.raises(RolledBack) as raised:
        d.switch(release(d, fail_every=2))
    account = raised.value.account
    assert account.refused == 0
    assert sum(stretch.by_instance.get("green", 0) for stretch in account.stretches) == traffic.failed > 0
    assert account.felt.startswith("green failed ")
