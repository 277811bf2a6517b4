"""Watching a colour under traffic, window by window, with a hand on the way back."""

from __future__ import annotations

import time

from tailrace.deploy import gate
from tailrace.deploy.transition import Transition
from tailrace.errors import RolledBack

LOOK_EVERY_S = 0.05


def weigh(t: Transition) -> str:
    """Let the new colour take a growing share, with a gate at each; without weights, or an old colour, do nothing."""
    if not (t.old and t.profile.rollout.weights):
        return "all at once"
    for weight in t.profile.rollout.weights:
        generation = t.route({t.to: weight, t.old.colour: 100 - weight})
        t.edge.await_generation(generation, t.profile.rollout.ack_timeout_s)
        fact = watch(t, t.profile.rollout.weight_s, beside=True)
        t.reached("weight", f"{weight} %: {fact}")
    return f"by {list(t.profile.rollout.weights)} %"


def bake(t: Transition) -> str:
    """Keep the old colour warm while the new one shows itself under traffic."""
    t.reached("baking", f"for {t.profile.rollout.bake_s:g} s")
    return watch(t, t.profile.rollout.bake_s, beside=False) if t.old else "nothing to go back to"


def watch(t: Transition, seconds: float, beside: bool) -> str:
    """Watch the new colour for `seconds` and return what it did; raises RolledBack at the first breach.

    A window is held against the old colour's in the same time when that serves `beside`, else against what the old
    one did before the switch. A window with too few requests to say anything goes on until it has enough.
    """
    limits, before = t.profile.rollout.gate, t.before
    began = opened = t.edge.counters()
    deadline = time.monotonic() + seconds
    closes = time.monotonic() + limits.window_s
    while (now_s := time.monotonic()) < deadline:
        time.sleep(min(LOOK_EVERY_S, deadline - now_s))
        _look(t)
        if t.wish() == "promote":
            break
        if time.monotonic() >= closes:
            now = t.edge.counters()
            seen = gate.window(opened.colours[t.to], now.colours[t.to])
            if beside and t.old:
                before = gate.window(opened.colours[t.old.colour], now.colours[t.old.colour])
            if why := gate.breach(seen, before, limits):
                raise _broken(t, why)
            closes += limits.window_s
            opened = now if seen.requests >= limits.min_requests else opened
    ended = t.edge.counters()
    all_of_it = gate.window(began.colours[t.to], ended.colours[t.to])
    if why := gate.silent(all_of_it, before, (ended.t_ns - began.t_ns) / 1e9, limits):
        raise _broken(t, why)
    return f"{all_of_it.requests} requests, {all_of_it.errors} failed, p95 {all_of_it.percentile_ms('p95'):.0f} ms"


def _broken(t: Transition, why: str) -> RolledBack:
    return RolledBack(f"{t.to} (release {t.release.id}) broke its gate: {why}")


def _look(t: Transition) -> None:
    """Leave at once when the instance has died, or when the operator says so."""
    if t.new and t.engine.died(t.new):
        log = t.engine.log(t.new, 5)
        died = f"{t.new.name} (release {t.release.id}) died under traffic"
        raise RolledBack(f"{died}; its log:\n{log}")
    if t.wish() == "rollback":
        raise RolledBack(f"{t.to} (release {t.release.id}) was taken back by the operator")
