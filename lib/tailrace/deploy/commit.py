"""The commit: one atomic rename of the route file gives the new colour all traffic."""

from __future__ import annotations

import time

from tailrace.deploy import token_watch
from tailrace.deploy.gate import window
from tailrace.deploy.rollout import Rollout
from tailrace.errors import EdgeRejected
from tailrace.headers import COLOUR


def commit(rollout: Rollout) -> str:
    """Route all traffic to the new colour, and wait until the edge answers by those routes with that colour.

    Raises EdgeRejected when it does not.
    """
    settings, old = rollout.settings, rollout.old
    if rollout.counters_at_start and old:
        now = rollout.edge.counters()
        rollout.baseline = window(rollout.counters_at_start.colours[old.colour], now.colours[old.colour])
        rollout.token_baseline = token_watch.read(rollout.profile, rollout.old_page).since(rollout.tokens_at_start)
    generation = rollout.route({rollout.colour: 100})
    if not settings.drain:
        _kill_old(rollout)
    answer = rollout.edge.await_generation(generation, settings.ack_timeout_s, rollout.release.acceptance.health)
    ack_ms = (time.perf_counter_ns() - rollout.committed_ns) / 1e6
    colour = answer.headers.get(COLOUR)
    health = rollout.release.acceptance.health
    if not health.accepts(answer.status) or colour != rollout.colour:
        raise EdgeRejected(
            f"generation {generation} is answered by {colour} with {answer.status} at {health.live}; "
            f"expected {rollout.colour} with {', '.join(health.status)}"
        )
    return f"generation {generation}, acknowledged after {ack_ms:.1f} ms"


def _kill_old(rollout: Rollout) -> None:
    """Kill the old colour with its requests: the negative control, which shows what draining is worth."""
    if rollout.old:
        rollout.cut += rollout.edge.counters().colours[rollout.old.colour].active
        rollout.engine.kill(rollout.old)
