"""The canary: requests with a header or a cookie see the new colour first, and are judged."""

import threading
import urllib.request
from collections import Counter
from contextlib import contextmanager

import pytest

from tailrace.errors import RolledBack
from tailrace.host import waiting

HEADER = {"header": "x-canary: always"}


def ask(url, **headers):
    """Return the colour that answered."""
    sent = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(sent, timeout=60) as answer:
        return answer.headers["x-colour"]


@contextmanager
def canaries(url, number=10**9, **headers):
    """Send that many requests with these headers, one after the other, as soon as green answers them; count answers."""
    stop, counted = threading.Event(), Counter()

    def run():
        while not stop.wait(0.005) and counted["green"] + counted["HTTPError"] < number:
            try:
                counted[ask(url, **headers)] += 1
            except OSError as error:
                counted[type(error).__name__] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield counted
    finally:
        stop.set()
        thread.join()


def at(canary, call):
    """Return an observer that calls once the canary's requests go to the new colour."""
    return lambda state, t_ns, fact: call() if state == canary else None


@pytest.mark.parametrize(
    ("canary", "right", "wrong"),
    [
        (HEADER, {"x_canary": "always"}, {"x_canary": "never"}),
        pytest.param(
            {"cookie": "canary=1"},
            {"cookie": "a=b; canary=1; c=d"},
            {"cookie": "xcanary=1; canary=10"},
            marks=pytest.mark.deep,
        ),
    ],
    ids=["header", "cookie"],
)
def test_only_the_canary_sees_the_new_colour_before_the_weights(deployment, release, load, canary, right, wrong):
    """All others get the old one, and nobody loses a request; after the commit the header says nothing any more."""
    d = deployment(canary={**canary, "for_s": 0.5, "min_requests": 10, "too_few": "wait"})
    d.up(release(d))
    seen = []
    before = d.counters()
    with load(d.url) as traffic, canaries(d.url, **right) as counted:
        look = at("canary", lambda: seen.extend([ask(d.url, **right), ask(d.url, **wrong), ask(d.url)]))
        switched = d.switch(release(d, name="second"), observe=look)
        begun_ns = switched.states[[state for state, _, _ in switched.states].index("canary")][1]
    assert seen == ["green", "blue", "blue"]
    assert counted["green"] >= 10
    committed_ns = next(t_ns for state, t_ns, _ in switched.states if state == "weighted")
    during = {colour for sent_ns, _, colour in traffic.answers if begun_ns < sent_ns < committed_ns - 0.1e9}
    assert during <= {"blue"}
    assert traffic.failed == d.counters().since(before).failed == switched.cut == 0
    facts = {state: fact for state, _, fact in switched.states}
    assert "requests, 0 failed, p95" in facts["canaried"]
    assert d.edge.routes().canary is None
    assert ask(d.url, **wrong) == "green"


def test_a_canary_that_fails_is_rolled_back_and_nobody_else_saw_it(deployment, release, load):
    """Few requests are enough to fail, when the missing ones could not make up for it."""
    d = deployment(canary={**HEADER, "for_s": 30, "min_requests": 1000, "too_few": "wait"}, smoke=())
    d.up(release(d))
    with (
        load(d.url) as traffic,
        canaries(d.url, x_canary="always"),
        pytest.raises(RolledBack, match=r"broke its gate: \d+ of \d+ requests failed"),
    ):
        d.switch(release(d, fail_every=2))
    assert traffic.failed == 0
    assert {colour for _, _, colour in traffic.answers} == {"blue"}
    assert (d.edge.routes().weights, d.edge.routes().canary) == ({"blue": 100}, None)
    assert len(d.instances) == 1


@pytest.mark.parametrize(
    ("sent", "failing"),
    [(0, 0), pytest.param(3, 0, marks=pytest.mark.deep), (3, 1)],
    ids=["none", "few", "few-that-fail"],
)
def test_too_few_requests_are_no_pass(deployment, release, sent, failing):
    """The switch goes on as the profile says, and says how many came; when they failed, it does not."""
    d = deployment(canary={**HEADER, "for_s": 1, "min_requests": 10}, bake_s=0.1, smoke=())
    d.up(release(d))
    before = d.edge.counters().colours["green"].total

    def send():
        for _ in range(sent):
            with pytest.raises(OSError, match="500") if failing else canaries(d.url, 0):
                ask(d.url, x_canary="always")

    second = release(d, name="second", fail_every=failing)
    if failing:
        why = r"as the canary broke its gate: 3 of 3 requests failed; limit 2\.0% of 10"
        with pytest.raises(RolledBack, match=why):
            d.switch(second, observe=at("canary", send))
        return
    facts = {state: fact for state, _, fact in d.switch(second, observe=at("canary", send)).states}
    expected = f"not judged: {sent} of 10 requests came, 0 failed; went on, as rollout.canary.too_few says"
    assert facts["canaried"] == expected
    assert d.serving.colour == "green"
    assert d.edge.counters().colours["green"].total >= before + sent


@pytest.mark.deep
def test_a_canary_that_waits_goes_on_once_enough_came(deployment, release):
    """It waits for the number that the profile asks for; the negative control waits in vain, and is rolled back."""
    wait = {**HEADER, "for_s": 0.1, "min_requests": 12, "too_few": "wait"}
    d = deployment(canary={**wait, "wait_s": 120})
    d.up(release(d))
    with canaries(d.url, 12, x_canary="always"):
        switched = d.switch(release(d, name="second"))
    assert {s: f for s, _, f in switched.states}["canaried"].startswith("12 requests, 0 failed")
    d = deployment(canary={**wait, "wait_s": 0.5})
    with pytest.raises(RolledBack, match=r"not judged: 0 of 12 requests came, 0 failed within 0\.6 s\. Send more with"):
        d.switch(release(d, name="third"))
    assert d.serving.colour == "green"


def test_promote_ends_the_canary_and_not_the_bake(deployment, release):
    """The operator knows better than the number of requests, of the present stage only."""
    d = deployment(canary={**HEADER, "for_s": 600, "too_few": "wait"}, bake_s=600)
    d.up(release(d))
    results = []
    thread = threading.Thread(target=lambda: results.append(d.switch(release(d, name="second"))))
    thread.start()
    try:
        for stage in ("canary", "baking"):
            assert waiting.until(lambda: d.journal.entries()[-1].state == stage, 60)  # noqa: B023
            assert "switch" in d.status().under_way
            assert bool(d.status().canary) is (stage == "canary")
            assert d.promote().state == "asked"
    finally:
        thread.join(60)
    facts = {state: fact for state, _, fact in results[0].states}
    assert facts["canaried"].endswith("went on, promoted by the operator")
    assert d.serving.colour == "green"


@pytest.mark.deep
def test_the_canary_sees_the_new_colour_at_every_weight(deployment, release):
    """A tester does not fall back to the old one when the first share begins."""
    d = deployment(canary={**HEADER, "for_s": 0.1}, weights=[1], weight_s=0.3)
    d.up(release(d))
    seen = set()
    look = at("weight", lambda: seen.update(ask(d.url, x_canary="always") for _ in range(20)))
    d.switch(release(d, name="second"), observe=look)
    assert seen == {"green"}


def test_nobody_is_let_in_behind_the_maintenance_page_or_at_a_first_deploy(deployment, release):
    """There is nothing that a canary could be compared with, and that is said instead of a pass."""
    from tailrace.deploy.edge import Maintenance

    d = deployment(canary={**HEADER, "for_s": 600, "too_few": "wait"})
    d.up(release(d))
    d.maintenance_on(Maintenance.of(60))
    switched = d.switch(release(d, name="second"))
    assert {s: f for s, _, f in switched.states}["canaried"] == "not judged: the maintenance page answers every user"


@pytest.mark.parametrize(
    ("rollout", "state"),
    [
        pytest.param({"canary": {**HEADER, "for_s": 600}}, "canary:reached:after", id="canary"),
        pytest.param({"weights": [30], "weight_s": 0.1}, "weight:reached:after", id="weight", marks=pytest.mark.deep),
    ],
)
def test_a_colour_that_is_kept_by_hand_gets_all_requests(deployment, release, killed, rollout, state):
    """A damaged journal leaves the choice to the route file: the other colour is removed, and so is its share."""
    d = deployment(smoke=(), **rollout)
    d.up(release(d))
    killed(d, release(d, name="second"), state)
    assert d.edge.routes().reach("green")
    lines = d.journal.path.read_bytes().splitlines(keepends=True)
    d.journal.path.write_bytes(b"".join([*lines[:2], b"damaged\n", *lines[3:]]))
    assert "blue-2 serves, 1 other instances removed" in d.resume().fact
    assert {ask(d.url, x_canary="always") for _ in range(30)} == {"blue"}
    assert not d.edge.routes().reach("green")


@pytest.mark.fault(
    "controller killed while the canary is let in",
    "the old colour; the canary's requests are on the new one",
    "Unfinished at the next deploy; `status` names the canary",
    "`resume` to continue, `abort` to go back",
)
@pytest.mark.parametrize("verb", ["resume", pytest.param("abort", marks=pytest.mark.deep)])
@pytest.mark.parametrize(
    "point",
    [
        "routes:rename:after",
        pytest.param("canary:reached:after", marks=pytest.mark.deep),
    ],
)
def test_a_controller_killed_while_the_canary_is_let_in_loses_nothing(deployment, release, load, killed, point, verb):
    """Resume ends on the new colour, abort on the old one, and neither leaves the canary's route."""
    d = deployment(canary={**HEADER, "for_s": 0.1}, bake_s=0.2, smoke=(), warmup={"max_requests": 0, "min_requests": 0})
    d.up(release(d, name="first"))
    before = d.counters()
    with load(d.url) as traffic, canaries(d.url, x_canary="always") as counted:
        killed(d, release(d, name="second"), point)
        assert d.edge.routes().canary
        assert waiting.until(lambda: counted["green"], 60)
        outcome = getattr(d, verb)()
    assert outcome.state == ("done" if verb == "resume" else "rolled back")
    assert d.serving.colour == ("green" if verb == "resume" else "blue")
    assert (d.edge.routes().weights, d.edge.routes().canary) == ({d.serving.colour: 100}, None)
    assert traffic.failed == d.counters().since(before).failed == outcome.cut == 0
    assert set(counted) <= {"blue", "green"}
    assert (len(d.instances), d.journal.unfinished()) == (1, [])
