"""The switch: from one colour to the other without a request lost, or back.

    locked → started → ready → warm → smoked → weighted → switched → baked → drained → retired → done
    any failure up to baked: → rolled back

Every state is written down before its act and after it, and every act may be done twice: so whoever finds a
journal without an end goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from tailrace.deploy import bake, drain, proving
from tailrace.deploy.gate import window
from tailrace.deploy.transition import Switched, Transition
from tailrace.errors import DeployError, EdgeRejected, PartMissing
from tailrace.headers import COLOUR


def run(t: Transition, done: Collection[str] = ()) -> Switched:
    """Go through all states that are not `done` yet; what fails before the old colour is given up is taken back."""
    for state, act in ACTS.items():
        if state in done:
            continue
        try:
            t.intend(state)
            t.reached(state, act(t))
        except BaseException as error:
            if state in ("drained", "retired"):
                raise
            _take_back(t, str(error) or type(error).__name__)
            if isinstance(error, DeployError):
                error.states, error.cut = tuple(t.states), t.cut
            raise
    t.end("done", f"{t.to} serves release {t.release.id}; {t.cut} requests cut")
    return t.outcome()


def commit(t: Transition) -> str:
    """Rename the route file: this is the switch. Then wait for the edge to answer by it, with the new colour."""
    if t.first and t.old:
        t.before = window(t.first.colours[t.old.colour], t.edge.counters().colours[t.old.colour])
    generation = t.route({t.to: 100})
    if not t.profile.rollout.drain:
        _cut_off(t)
    answer = t.edge.await_generation(generation, t.profile.rollout.ack_timeout_s)
    ack_ms = (time.perf_counter_ns() - t.committed_ns) / 1e6
    if answer.status >= 300 or answer.headers.get(COLOUR) != t.to:
        colour, status = answer.headers.get(COLOUR), answer.status
        raise EdgeRejected(f"generation {generation} is answered by {colour} with {status}; expected {t.to} with 2xx")
    return f"generation {generation}, acknowledged after {ack_ms:.1f} ms"


ACTS = {
    "started": proving.start,  # the edge knows its endpoint, and finds it healthy
    "ready": proving.ready,  # by its own word
    "warm": proving.warm,  # latency has settled, through the preview
    "smoked": proving.smoke,  # the answers are right, streams included
    "weighted": bake.weigh,  # where the profile asks for shares: a gate at each
    "switched": commit,  # one rename
    "baked": bake.bake,  # a gate in every window; the old colour is warm all the time
    "drained": drain.drain,  # the old colour's last request has ended, or the deadline is over
    "retired": drain.retire,  # there is no way back any more
}


def roll_back(t: Transition, why: str) -> None:
    """Give all traffic back to the old colour, still warm; then drain and remove the new one."""
    t.intend("rolled back", why=why)
    carries = bool(t.edge.routes().weights.get(t.to))
    if carries and t.old and not t.engine.alive(t.old):
        t.end("stayed", f"{why}; {t.old.name} is gone: going back would be a cold start")
        raise DeployError(
            f"{why}; but {t.old.name} has died meanwhile, so traffic stays on {t.to}. "
            "Going back would be a cold start: switch to the release that you want"
        )
    if carries and t.old:
        t.edge.await_generation(t.route({t.old.colour: 100}), t.profile.rollout.ack_timeout_s)
        t.reached("rolling back", f"traffic is on {t.old.colour} again; {why}")
        drain.drained(t, t.to)
    if t.new:
        drain.end(t, t.new)
        t.edge.point(t.to, None)
    t.end("rolled back", why)


def _take_back(t: Transition, why: str) -> None:
    """Roll back; when that fails as well, say both, and that it is still to be done."""
    try:
        roll_back(t, why)
    except (DeployError, PartMissing) as error:
        if t.states[-1][0] == "stayed":
            raise
        raise DeployError(
            f"{why}; and taking it back failed: {error}. Traffic is where the route file says; once that is mended, "
            "`resume` finishes taking it back"
        ) from error


def _cut_off(t: Transition) -> None:
    """Kill the old colour with its requests: the negative control, which shows what draining is worth."""
    if t.old:
        t.cut += t.edge.counters().colours[t.old.colour].active
        t.engine.kill(t.old)
