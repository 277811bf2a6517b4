"""Watch a colour under traffic, window by window, ready to roll back."""

from __future__ import annotations

import time
from collections.abc import Callable

from tailrace.deploy import bring_up, gate
from tailrace.deploy.rollout import Rollout
from tailrace.deploy.token_watch import TokenWatch
from tailrace.errors import RolledBack

LOOK_EVERY_S = 0.05


def shift_by_weight(rollout: Rollout) -> str:
    """Give the new colour a growing share, with a gate at each; without weights, or an old colour, do nothing."""
    settings, old = rollout.settings, rollout.old
    if not (old and settings.weights):
        return "all at once"
    for weight in settings.weights:
        generation = rollout.route({rollout.colour: weight, old.colour: 100 - weight}, rollout.canary)
        rollout.edge.await_generation(generation, settings.ack_timeout_s)
        fact = watch(rollout, settings.weight_s, side_by_side=True)
        rollout.take_request("promote")
        rollout.reached("weight", f"{weight} %: {fact}")
    return f"by {list(settings.weights)} %"


def bake(rollout: Rollout) -> str:
    """Watch the new colour under all traffic, while the old one stays warm, if there is one."""
    seconds = rollout.settings.bake_s if rollout.old else bring_up.left_to_bake_s(rollout)
    rollout.reached("baking", f"for {seconds:.3g} s")
    fact = watch(rollout, seconds, side_by_side=False)
    return fact if rollout.old else f"{fact}; {bring_up.require_answer(rollout)}"


def watch(rollout: Rollout, seconds: float, side_by_side: bool, is_over: Callable[[], bool] = lambda: False) -> str:
    """Watch the new colour for `seconds`, or until `is_over`, and return what it did; raises RolledBack at a breach.

    A window is compared with the old colour's in the same time when both serve `side_by_side`, else with what the old
    one did before the switch. A window with too few requests to decide anything stays open until it has enough. Where
    the SLO limits tokens, the service's own metrics are judged as well.
    """
    old = rollout.old_page if side_by_side else None
    with TokenWatch(rollout.profile, rollout.new_page, old, rollout.token_baseline) as tokens:
        fact = _watch(rollout, seconds, side_by_side, tokens, is_over)
        if why := tokens.whole_breach():
            raise _breach(rollout, why)
        rollout.token_fact = tokens.judged()
        return "; ".join(filter(None, (fact, rollout.token_fact)))


def _watch(
    rollout: Rollout, seconds: float, side_by_side: bool, tokens: TokenWatch, is_over: Callable[[], bool]
) -> str:
    limits, baseline = rollout.settings.gate, rollout.baseline
    began = opened = rollout.edge.counters()
    deadline = time.monotonic() + seconds
    closes = time.monotonic() + limits.window_s
    while (now_s := time.monotonic()) < deadline:
        time.sleep(min(LOOK_EVERY_S, deadline - now_s))
        _leave_if_dead_or_recalled(rollout)
        if rollout.operator_request() == "promote" or is_over():
            break
        if time.monotonic() >= closes:
            now = rollout.edge.counters()
            window = gate.window(opened.colours[rollout.colour], now.colours[rollout.colour])
            if side_by_side and rollout.old:
                baseline = gate.window(opened.colours[rollout.old.colour], now.colours[rollout.old.colour])
            if why := gate.breach(window, baseline, limits) or tokens.breach():
                raise _breach(rollout, why)
            closes += limits.window_s
            opened = now if window.requests >= limits.min_requests else opened
    ended = rollout.edge.counters()
    whole = gate.window(began.colours[rollout.colour], ended.colours[rollout.colour])
    if why := gate.silent(whole, baseline, (ended.t_ns - began.t_ns) / 1e9, limits):
        raise _breach(rollout, why)
    return f"{whole.requests} requests, {whole.errors} failed, p95 {whole.percentile_ms('p95'):.0f} ms"


def _breach(rollout: Rollout, why: str) -> RolledBack:
    return RolledBack(f"{rollout.colour} (release {rollout.release.id}) broke its gate: {why}")


def _leave_if_dead_or_recalled(rollout: Rollout) -> None:
    """Raise RolledBack when the instance has died, or when the operator requests it."""
    release = rollout.release.id
    if rollout.new and rollout.engine.died(rollout.new):
        log, how = rollout.engine.log(rollout.new, 5), rollout.engine.state(rollout.new)
        raise RolledBack(f"{rollout.new.name} (release {release}) died under traffic ({how}); its log {log}")
    if rollout.operator_request() == "rollback":
        raise RolledBack(f"{rollout.colour} (release {release}) was rolled back by the operator")
