"""The switch, under load, by counting: what is promised, and what the promise is worth without its parts."""

import pytest

from tailrace.errors import DeployError, NotReady, RolledBack, StartFailed


def test_a_switch_loses_no_request_and_both_sides_count_the_same(deployment, release, load):
    """Client and edge agree on every request, streams included, and none failed."""
    d = deployment()
    first = release(d, name="first")
    d.up(first)
    before = d.counters()
    with load(d.url) as traffic:
        switched = d.switch(release(d, name="second"))
        back = d.switch(first)
    counted = d.counters().since(before)
    assert (traffic.failed, counted.failed, switched.cut, back.cut) == (0, 0, 0, 0)
    assert counted.requests == counted.completed == counted.answers_2xx == traffic.sent > 300
    assert (switched.from_colour, switched.to_colour, back.to_colour) == ("blue", "green", "blue")
    assert {colour for _, _, colour in traffic.answers} == {"blue", "green"}


def test_the_old_colour_gets_no_request_after_the_acknowledgement(deployment, release, load):
    """What was sent after the ack is answered by the new colour."""
    d = deployment()
    d.up(release(d))
    with load(d.url) as traffic:
        switched = d.switch(release(d, name="second"))
    acknowledged = next(t_ns for state, t_ns, _ in switched.states if state == "switched")
    later = {colour for sent_ns, _, colour in traffic.answers if sent_ns > acknowledged}
    assert later == {switched.to_colour}


def test_the_states_come_in_order_and_are_journalled(deployment, release):
    """A switch goes through every state, tells who watches, and writes each down."""
    d, observed = deployment(), []
    d.up(release(d))
    switched = d.switch(release(d, name="second"), observe=lambda state, t_ns, fact: observed.append(state))
    expected = ["locked", "prepared", "started", "ready", "warm", "smoked", "canaried", "weighted", "switched",
                "announced", "baking", "baked", "drained", "retired", "done"]  # fmt: skip
    assert [state for state, _, _ in switched.states] == observed == expected
    times = [t_ns for _, t_ns, _ in switched.states]
    assert times == sorted(times)
    assert [e.state for e in d.journal.entries() if e.kind != "intent"][-len(expected) :] == expected


def test_without_drain_requests_are_lost(deployment, release, load):
    """The negative control: killing the old colour right after the commit is seen by the client and by the edge."""
    d = deployment(drain=False)
    d.up(release(d, delay_s=0.05))
    before = d.counters()
    with load(d.url) as traffic:
        switched = d.switch(release(d, name="second", delay_s=0.05))
    assert traffic.failed > 0
    assert d.counters().since(before).failed == traffic.failed
    assert switched.cut > 0


def test_a_colour_that_is_never_ready_gets_no_traffic(deployment, release, load):
    """NotReady; the new instance is gone, the old one was not touched."""
    d = deployment(start_timeout_s=3)
    d.up(release(d))
    with (
        load(d.url) as traffic,
        pytest.raises(NotReady, match=r"not started after 3\.0 s; last answer of /readyz: 503") as raised,
    ):
        d.switch(release(d, ready_after_s=60))
    assert traffic.failed == 0
    assert {colour for _, _, colour in traffic.answers} == {"blue"}
    assert raised.value.states[-1][0] == "rolled back"
    assert [i.colour for i in d.instances] == ["blue"]
    d.switch(release(d, name="good"))


def test_a_colour_that_ends_at_its_start_is_told_with_its_log(deployment, release):
    """StartFailed shows the last lines."""
    d = deployment()
    d.up(release(d))
    with pytest.raises(StartFailed, match=r"unrecognized arguments: --nonsense"):
        d.switch(release(d, nonsense=1))
    assert d.serving.colour == "blue"


def test_a_colour_that_fails_its_smoke_test_gets_no_traffic(deployment, release, load):
    """A smoke test goes through the preview, and its answer decides."""
    d = deployment(smoke=({"path": "/", "contains": "good"},))
    d.up(release(d, name="good"))
    with load(d.url) as traffic, pytest.raises(NotReady, match="smoke test 1 of 1, GET /: 200, but 'good' is not in"):
        d.switch(release(d, name="bad"))
    assert {colour for _, _, colour in traffic.answers} == {"blue"}


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "fact"),
    [({"fail_every": 3}, r"requests failed \(\d+\.\d%\); limit 2\.0%"), ({"delay_s": 0.4}, r"p95 \d{3} ms")],
    ids=["failing", "slow"],
)
def test_a_colour_that_breaks_its_gate_is_rolled_back_by_itself(deployment, release, load, fault, fact):
    """Within about a window traffic is on the old colour again, which was warm all the time."""
    d = deployment(bake_s=10, smoke=(), warmup={"min_requests": 2, "max_requests": 4})
    d.up(release(d))
    serving = d.serving
    # Two streams in a hundred: at five, the old colour's own p95 would lie among them.
    with load(d.url, streams=0.02) as traffic, pytest.raises(RolledBack, match=fact) as raised:
        d.switch(release(d, **fault))
    at = {state: t_ns for state, t_ns, _ in raised.value.states}
    assert (at["rolling back"] - at["switched"]) / 1e9 < 1.5
    assert d.serving == serving
    assert [i.colour for i in d.instances] == ["blue"]
    later = {colour for sent_ns, _, colour in traffic.answers if sent_ns > at["rolling back"]}
    assert later == {"blue"}


@pytest.mark.alone
def test_a_colour_that_answers_nobody_is_rolled_back(deployment, release, load):
    """It passed its proofs, and hangs on users: requests without an answer are no failures yet, and no good sign."""
    d = deployment(bake_s=3, smoke=(), warmup={"min_requests": 2, "max_requests": 4}, drain_timeout_s=1)
    d.up(release(d))
    serving = d.serving
    why = r"broke its gate: \d of \d+ requests answered in 3\.\d s"
    with load(d.url, streams=0), pytest.raises(RolledBack, match=why):
        d.switch(release(d, answers=6))
    assert d.serving == serving


@pytest.mark.alone
def test_weights_let_the_new_colour_grow_and_lose_nothing(deployment, release, load):
    """With weights both colours answer for a while, in about the shares that were asked for."""
    d = deployment(weights=[20, 50], weight_s=0.6)
    d.up(release(d))
    before = d.counters()
    with load(d.url) as traffic:
        switched = d.switch(release(d, name="second"))
    weights = [(t_ns, fact) for state, t_ns, fact in switched.states if state == "weight"]
    assert [fact.split(":")[0] for _, fact in weights] == ["20 %", "50 %"]
    during = [colour for sent_ns, _, colour in traffic.answers if weights[0][0] - 0.5e9 < sent_ns < weights[0][0]]
    assert 0.05 < during.count("green") / len(during) < 0.4
    assert traffic.failed == d.counters().since(before).failed == 0


def test_a_breach_at_a_weight_takes_the_share_back(deployment, release, load):
    """A failing colour never gets more than its first share."""
    d = deployment(weights=[20], weight_s=10, smoke=())
    d.up(release(d))
    with load(d.url), pytest.raises(RolledBack, match="requests failed"):
        d.switch(release(d, fail_every=2))
    assert d.edge.routes().weights == {"blue": 100}


def test_a_stream_across_the_switch_ends_whole(deployment, release, load):
    """The old colour is not stopped before its last stream has ended."""
    d = deployment()
    d.up(release(d))
    with load(d.url, rate=20, streams=0, path="/stream?s=1.2") as traffic:
        switched = d.switch(release(d, name="second"))
    assert traffic.failed == switched.cut == 0


def test_streams_that_pass_the_drain_deadline_are_cut_and_counted(deployment, release, load):
    """The number that is reported is the number that the client lost."""
    d = deployment(drain_timeout_s=0.5, stop_grace_s=0.5)
    d.up(release(d))
    before = d.counters()
    with load(d.url, rate=10, streams=0, path="/stream?s=2") as traffic:
        switched = d.switch(release(d, name="second"))
    assert switched.cut == traffic.failed == d.counters().since(before).failed > 0


def test_nothing_can_be_switched_before_something_serves(deployment, release):
    """It says what to use instead."""
    d = deployment()
    with pytest.raises(DeployError, match="nothing serves yet"):
        d.switch(release(d))
