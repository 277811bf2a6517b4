"""Wait for the last request of a colour that gets no new ones, and stop it."""

from __future__ import annotations

import time

from tailrace.deploy.edge import ColourCounters, other
from tailrace.deploy.engines import Instance
from tailrace.deploy.rollout import Rollout
from tailrace.host import waiting

READS = 3
READ_EVERY_S = 0.05
RESTART_S = 2.0
"""How long a rollback waits for an old colour that has just crashed: its engine starts it again."""


def drain(rollout: Rollout) -> str:
    """Wait for the old colour's last request, or for the deadline."""
    if rollout.old is None:
        return "nothing to drain"
    if not rollout.settings.drain:
        return f"not drained: rollout.drain is off; {rollout.cut} requests cut"
    return wait_until_idle(rollout, rollout.old.colour)


def retire(rollout: Rollout) -> str:
    """Stop every instance of the old colour, then remove its endpoint from the edge."""
    colour = other(rollout.colour)
    instances = [i for i in rollout.engine.instances(rollout.slot.deployment) if i.colour == colour]
    stopped = [stop(rollout, instance) for instance in instances]
    rollout.edge.point(colour, None)
    return ", ".join(stopped) or "nothing to retire"


def wait_until_idle(rollout: Rollout, colour: str) -> str:
    """Wait until `colour` has had nothing in flight, and no new request, for `READS` readings; or for the deadline."""
    started = time.monotonic()
    readings: list[ColourCounters] = []

    def idle() -> bool:
        readings.append(rollout.edge.counters().colours[colour])
        recent = readings[-READS - 1 :]
        steady = len(recent) > READS and len({reading.total for reading in recent}) == 1
        return steady and not any(reading.active for reading in recent[1:])

    is_idle = waiting.until(idle, rollout.settings.drain_timeout_s, READ_EVERY_S)
    waited_s, last = time.monotonic() - started, readings[-1]
    if is_idle:
        return f"{colour} idle after {waited_s:.2f} s, {last.total} requests in all"
    return f"{colour} still has {last.active} requests after {waited_s:.1f} s: those that do not end are cut"


def serves_again(rollout: Rollout, old: Instance) -> bool:
    """Return whether `old` runs; one that was restarted gets a moment until the edge finds it healthy."""
    engine, edge = rollout.engine, rollout.edge

    def back() -> bool:
        return engine.alive(old) and (not engine.restarts(old) or edge.healthy(old.colour, old.address))

    return waiting.until(back, RESTART_S, READ_EVERY_S) or engine.alive(old)


def stop(rollout: Rollout, instance: Instance) -> str:
    """Stop `instance` and return how; if it was not idle, count the requests that were really cut."""
    colour, before = instance.colour, rollout.edge.counters()
    how = rollout.engine.stop(instance, rollout.settings.stop_grace_s)
    if not before.colours[colour].active:
        return f"{instance.name} {how}"
    waiting.until(lambda: rollout.edge.counters().colours[colour].active == 0, 2.0)
    cut = rollout.edge.counters().since(before).lost(colour)
    rollout.cut += cut
    return f"{instance.name} {how}, {cut} requests cut"
