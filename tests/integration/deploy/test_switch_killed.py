"""The controller is killed at every state and at every write between; somebody else goes on, or back.

After each: traffic on exactly one proven colour, no request failed, nothing orphaned, the journal readable.
"""

import pytest

from tailrace.deploy import switch
from tailrace.errors import DeployError, Unfinished

WRITES = ["locked:begin:after", "spawned", "green:rename:before", "green:rename:after", "routed:intent:after",
          "routes:rename:before", "routes:rename:after", "blue:rename:after", "done:end:before"]  # fmt: skip
STATES = [f"{state}:{kind}" for state in switch.ACTS for kind in ("intent:after", "reached:after")]
QUICK = {
    ("started:reached:after", "abort"), ("routes:rename:before", "resume"), ("routes:rename:after", "abort"),
    ("baked:reached:after", "resume"), ("retired:intent:after", "abort"),
}  # fmt: skip
PAST_RETURN = ["blue:rename:after", "retired:reached:after", "done:end:before"]


def whole(d, release) -> None:
    """One colour serves, healthy and alone; it is the edge's; a new switch works."""
    assert len(d.instances) == 1
    serving = d.serving
    assert serving == d.instances[0]
    assert (d.edge.routes().weights, d.edge.routes().canary) == ({serving.colour: 100}, None)
    assert d.edge.healthy(serving.colour, serving.address)
    assert d.engine.sweep(d.profile.name) == []
    assert d.journal.unfinished() == []


@pytest.mark.fault(
    "controller killed at any state or write",
    "what the route file says: one proven colour",
    "Unfinished at the next deploy; `status` names the state",
    "`resume` to continue, `abort` to go back",
)
@pytest.mark.parametrize(
    ("point", "verb"),
    [
        pytest.param(point, verb, marks=[] if (point, verb) in QUICK else pytest.mark.deep)
        for point in (*STATES, *WRITES)
        for verb in ("resume", "abort")
    ],
)
def test_a_controller_killed_anywhere_loses_nothing(deployment, release, load, killed, point, verb):
    """Resume ends on the new colour, abort on the old one; past the point of no return, abort says so."""
    d = deployment(bake_s=0.2, smoke=(), warmup={"max_requests": 0, "min_requests": 0})
    d.up(release(d, name="first"))
    before = d.counters()
    second = release(d, name="second")
    with load(d.url) as traffic:
        killed(d, second, point)
        with pytest.raises(Unfinished, match="continue with resume, or go back with abort"):
            d.switch(second)
        if verb == "abort" and point in PAST_RETURN:
            with pytest.raises(DeployError, match="no way back; continue with resume"):
                d.abort()
            outcome = d.resume()
        else:
            outcome = getattr(d, verb)()
        gone_back = outcome.state == "rolled back"
        assert gone_back == (verb == "abort" and point not in PAST_RETURN)
    assert d.serving.colour == ("blue" if gone_back else "green")
    assert traffic.failed == d.counters().since(before).failed == outcome.cut == 0
    assert d.resume().state == d.abort().state == "nothing"
    whole(d, second)


def test_a_first_up_that_was_killed_can_be_resumed(deployment, release, killed):
    """There is no old colour to go back to, and none is needed."""
    d = deployment()
    killed(d, release(d), "ready:reached:after", "up")
    assert d.abandoned()[-1].endswith("left at ready")
    assert d.resume().state == "done"
    whole(d, release(d))


@pytest.mark.fault(
    "controller killed while rolling back",
    "the old colour, or what the route file says",
    "Unfinished at the next deploy",
    "`resume` finishes the rollback",
)
def test_a_rollback_that_was_killed_is_finished(deployment, release, load, killed):
    """Resume does not go forward again with a colour that was found bad."""
    d = deployment(bake_s=20, smoke=())
    d.up(release(d))
    with load(d.url):
        killed(d, release(d, fail_every=2), "rolled back:intent:after")
        assert d.resume().state == "rolled back"
    assert d.serving.colour == "blue"
    whole(d, release(d))
