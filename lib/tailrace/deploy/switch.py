"""The switch: from one colour to the other without a request lost, or back.

    locked → started → ready → warm → smoked → weighted → switched → baked → drained → retired → done
    any failure up to baked: → rolled back

Every state is written down before its act and after it, and every act may be done twice: so whoever finds a
journal without an end goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from tailrace.deploy import bake, proof
from tailrace.deploy.drain import drained, end
from tailrace.deploy.edge import other
from tailrace.deploy.gate import Window, window
from tailrace.deploy.transition import Switched, Transition
from tailrace.errors import DeployError, EdgeRejected


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
            roll_back(t, str(error) or type(error).__name__)
            if isinstance(error, DeployError):
                error.states, error.cut = tuple(t.states), t.cut
            raise
    t.end("done", f"{t.to} serves release {t.release.id}; {t.cut} requests cut")
    return t.outcome()


def start(t: Transition) -> str:
    """Start the new colour. Its endpoint is known to the edge before any route could name it."""
    t.first = t.edge.counters()
    t.new = t.new or t.engine.start(t.release, t.slot)
    t.edge.point(t.to, t.new.address)
    waits, paths = t.profile.rollout, t.profile.service.health
    fact = proof.answers(t.engine, t.new, paths.startup, waits.start_timeout_s, "started")
    proof.at_edge(lambda: t.edge.healthy(t.to, t.new.address), t.new, waits.start_timeout_s)  # type: ignore[union-attr]
    return f"{t.new.name} at {t.new.address}: {fact}"


def ready(t: Transition) -> str:
    assert t.new
    return proof.answers(t.engine, t.new, t.profile.service.health.ready, t.profile.rollout.ready_timeout_s, "ready")


def warm(t: Transition) -> str:
    return proof.warm(t.preview_url, t.profile.service.warmup, t.profile.rollout.warmup)


def smoke(t: Transition) -> str:
    assert t.new
    return proof.smoke(t.preview_url, t.profile.service.smoke, t.new)


def weigh(t: Transition) -> str:
    """Let the new colour take a growing share, with a gate at each; without weights, or an old colour, do nothing."""
    for weight in t.profile.rollout.weights if t.old else ():
        generation = t.route({t.to: weight, t.old.colour: 100 - weight})  # type: ignore[union-attr]
        t.edge.await_generation(generation, t.profile.rollout.ack_timeout_s)
        fact = bake.watch(t, t.profile.rollout.weight_s, beside=True)
        t.reached("weight", f"{weight} %: {fact}")
    return f"by {list(t.profile.rollout.weights)} %" if t.profile.rollout.weights and t.old else "all at once"


def commit(t: Transition) -> str:
    """Rename the route file: this is the switch. Then wait for the edge to answer by it, with the new colour."""
    t.before = _before(t)
    generation = t.route({t.to: 100})
    if not t.profile.rollout.drain:
        _cut_off(t)
    answer = t.edge.await_generation(generation, t.profile.rollout.ack_timeout_s)
    ack_ms = (time.perf_counter_ns() - t.committed_ns) / 1e6
    if answer.status >= 300 or answer.headers.get("x-colour") != t.to:
        colour, status = answer.headers.get("x-colour"), answer.status
        raise EdgeRejected(f"generation {generation} is answered by {colour} with {status}; expected {t.to} with 2xx")
    return f"generation {generation}, acknowledged after {ack_ms:.1f} ms"


def bake_in(t: Transition) -> str:
    """Keep the old colour warm while the new one shows itself under traffic."""
    t.reached("baking", f"for {t.profile.rollout.bake_s:g} s")
    return bake.watch(t, t.profile.rollout.bake_s, beside=False) if t.old else "nothing to go back to"


def drain(t: Transition) -> str:
    """Wait for the old colour's last request, or for the deadline."""
    if t.old is None or not t.profile.rollout.drain:
        return "nothing to drain" if t.old is None else f"not drained: rollout.drain is off; {t.cut} requests cut"
    return drained(t, t.old.colour)


def retire(t: Transition) -> str:
    """Stop what the old colour has, then forget where it was."""
    colour = other(t.to)
    left = [i for i in t.engine.instances(t.slot.deployment) if i.colour == colour]
    ended = [end(t, instance) for instance in left]
    t.edge.point(colour, None)
    return ", ".join(ended) or "nothing to retire"


ACTS: dict[str, Callable[[Transition], str]] = {
    "started": start, "ready": ready, "warm": warm, "smoked": smoke, "weighted": weigh,
    "switched": commit, "baked": bake_in, "drained": drain, "retired": retire,
}  # fmt: skip


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
        drained(t, t.to)
    if t.new:
        end(t, t.new)
        t.edge.point(t.to, None)
    t.end("rolled back", why)


def _cut_off(t: Transition) -> None:
    """Kill the old colour with its requests: the negative control, which shows what draining is worth."""
    if t.old:
        t.cut += t.edge.counters().colours[t.old.colour].active
        t.engine.kill(t.old)


def _before(t: Transition) -> Window | None:
    if t.first is None or t.old is None:
        return None
    return window(t.first.colours[t.old.colour], t.edge.counters().colours[t.old.colour])
