"""What the new colour goes through before it gets traffic: the acts from `started` to `smoked`."""

from __future__ import annotations

from tailrace.deploy import proof
from tailrace.deploy.transition import Transition


def start(t: Transition) -> str:
    """Start the new colour. Its endpoint is known to the edge before any route could name it."""
    t.first = t.edge.counters()
    t.new = new = t.new or t.engine.start(t.release, t.slot)
    t.edge.point(t.to, new.address)
    timeout_s = t.profile.rollout.start_timeout_s
    fact = proof.answers(t.engine, new, t.profile.service.health.startup, timeout_s, "started")
    proof.at_edge(lambda: t.edge.healthy(t.to, new.address), new, timeout_s)
    return f"{new.name} at {new.address}: {fact}"


def ready(t: Transition) -> str:
    """Wait until the new colour says that it is ready."""
    assert t.new
    return proof.answers(t.engine, t.new, t.profile.service.health.ready, t.profile.rollout.ready_timeout_s, "ready")


def warm(t: Transition) -> str:
    """Ask through the preview until latency settles."""
    return proof.warm(t.preview_url, t.profile.service.warmup, t.profile.rollout.warmup)


def smoke(t: Transition) -> str:
    """Ask through the preview, and look at each answer."""
    assert t.new
    return proof.smoke(t.preview_url, t.profile.service.smoke, t.new)
