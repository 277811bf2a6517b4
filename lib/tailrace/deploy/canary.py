"""The canary: requests with one header or cookie see the new colour before anybody else does."""

from __future__ import annotations

import time

from tailrace.deploy import bake, gate
from tailrace.deploy.edge import Counters
from tailrace.deploy.gate import Window
from tailrace.deploy.rollout import Rollout
from tailrace.errors import RolledBack
from tailrace.profile import Canary


def let_in(rollout: Rollout) -> str:
    """Send the canary's requests to the new colour, and judge what it does with them; return that.

    Raises RolledBack at a breach of the gate, and when the profile waits for more requests than come.
    """
    settings, old = rollout.settings.canary, rollout.old
    if not (settings and old):
        return "nobody before the others"
    if rollout.edge.routes().maintenance:
        return "not judged: the maintenance page answers every user"
    began = rollout.edge.counters()
    generation = rollout.route({old.colour: 100}, rollout.canary)
    rollout.edge.await_generation(generation, rollout.settings.ack_timeout_s)
    rollout.reached("canary", str(rollout.canary))
    return _watch(rollout, settings, old.colour, began)


def _watch(rollout: Rollout, settings: Canary, old: str, began: Counters) -> str:
    deadline = time.monotonic() + settings.for_s + settings.wait_s
    bake.watch(rollout, settings.for_s, side_by_side=True)
    while True:
        now, promoted = rollout.edge.counters(), rollout.take_request("promote")
        window = _judged(rollout, settings, began, now, old)
        fact = f"{window.requests} requests, {window.errors} failed, p95 {window.percentile_ms('p95'):.0f} ms"
        if window.requests >= settings.min_requests:
            return fact
        fact = f"not judged: {window.requests} of {settings.min_requests} requests came, {window.errors} failed"
        if promoted or settings.too_few == "proceed":
            return f"{fact}; went on, {'promoted by the operator' if promoted else 'as rollout.canary.too_few says'}"
        if (left_s := deadline - time.monotonic()) <= 0:
            raise RolledBack(
                f"{rollout.colour} (release {rollout.release.id}) as the canary is {fact} within "
                f"{settings.for_s + settings.wait_s:g} s. Send more with {settings.header or settings.cookie}, or set "
                "rollout.canary.min_requests, wait_s or too_few"
            )
        bake.watch(rollout, min(left_s, rollout.settings.gate.window_s), side_by_side=True)


def _judged(rollout: Rollout, settings: Canary, began: Counters, now: Counters, old: str) -> Window:
    """Return what the new colour did since `began`; raises RolledBack when that breaks the gate.

    Fewer requests than the minimum can be too few to pass, and still enough to fail: when the limit would be broken
    even if all that are missing had succeeded.
    """
    window = gate.window(began.colours[rollout.colour], now.colours[rollout.colour])
    baseline = gate.window(began.colours[old], now.colours[old])
    limits = rollout.settings.gate.model_copy(update={"min_requests": settings.min_requests})
    why = gate.breach(window, baseline, limits)
    allowed = limits.max_error_rate + (baseline.error_rate if baseline.requests else 0.0)
    if window.requests < settings.min_requests and window.errors > allowed * settings.min_requests:
        why = f"{window.errors} of {window.requests} requests failed; limit {allowed:.1%} of {settings.min_requests}"
    if why:
        raise RolledBack(f"{rollout.colour} (release {rollout.release.id}) as the canary broke its gate: {why}")
    return window
