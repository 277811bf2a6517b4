"""Waiting for the last request of a colour that gets no new ones, and stopping it."""

from __future__ import annotations

import time

from tailrace.deploy.edge import ColourCounters, other
from tailrace.deploy.engines import Instance
from tailrace.deploy.transition import Transition
from tailrace.host import waiting

READS = 3
READ_EVERY_S = 0.05


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


def drained(t: Transition, colour: str) -> str:
    """Wait until `colour` has nothing in flight and its total stands still, or until the deadline."""
    started = time.monotonic()
    same, total = 0, -1
    while True:
        now = t.edge.counters().colours[colour]
        same = same + 1 if now.active == 0 and now.total == total else 0
        total, waited_s = now.total, time.monotonic() - started
        if same >= READS:
            return f"{colour} idle after {waited_s:.2f} s, {total} requests in all"
        if waited_s > t.profile.rollout.drain_timeout_s:
            return (
                f"{colour} still has {now.active} requests after {waited_s:.1f} s: what does not end by itself is cut"
            )
        time.sleep(READ_EVERY_S)


def end(t: Transition, instance: Instance) -> str:
    """Stop `instance` and return how; if it was not drained, count the requests that were really cut."""
    grace_s = t.profile.rollout.stop_grace_s
    left = _colour(t, instance)
    how = t.engine.stop(instance, grace_s)
    if not left.active:
        return f"{instance.name} {how}"
    waiting.until(lambda: _colour(t, instance).active == 0, 2.0)
    cut = _colour(t, instance).broken - left.broken
    t.cut += cut
    return f"{instance.name} {how}, {cut} requests cut"


def _colour(t: Transition, instance: Instance) -> ColourCounters:
    return t.edge.counters().colours[instance.colour]
