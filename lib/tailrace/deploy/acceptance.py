"""What an instance has to show before it gets traffic: it starts, is ready, is warm, and answers correctly."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import cycle, islice

from tailrace import profile
from tailrace.deploy import health
from tailrace.deploy.engines import Engine, Instance
from tailrace.deploy.rollout import Rollout
from tailrace.errors import NotReady, StartFailed
from tailrace.host import waiting

BATCH = 10


def start(rollout: Rollout) -> str:
    """Start the new colour. The edge knows its endpoint before any route could name it."""
    rollout.counters_at_start = rollout.edge.counters()
    rollout.new = new = rollout.new or rollout.engine.start(rollout.release, rollout.slot)
    rollout.edge.point(rollout.colour, new.address)
    timeout_s, path = rollout.settings.start_timeout_s, rollout.profile.service.health.startup
    fact = wait_for_success(rollout.engine, new, path, timeout_s, "started")
    wait_for_edge(lambda: rollout.edge.healthy(rollout.colour, new.address), new, timeout_s)
    return f"{new.name} at {new.address}: {fact}"


def wait_until_ready(rollout: Rollout) -> str:
    """Wait until the new colour says that it is ready."""
    path, timeout_s = rollout.profile.service.health.ready, rollout.settings.ready_timeout_s
    return wait_for_success(rollout.engine, _new(rollout), path, timeout_s, "ready")


def warm_up(rollout: Rollout) -> str:
    """Send warm-up requests through the preview until latency settles."""
    return send_until_warm(rollout.preview_url, rollout.profile.service.warmup, rollout.settings.warmup)


def smoke_test(rollout: Rollout) -> str:
    """Send each smoke request once, through the preview; raises NotReady at the first wrong answer."""
    requests, new = rollout.profile.service.smoke, _new(rollout)
    for number, request in enumerate(requests, start=1):
        observation = health.perform(rollout.preview_url, request, kind="smoke")
        if not observation.ok:
            raise NotReady(
                f"{_described(new)} failed smoke test {number} of {len(requests)}, {request.method} {request.path}: "
                f"{observation.fact}. Traffic was not touched"
            )
    return f"{len(requests)} smoke tests answered as expected"


def wait_for_success(engine: Engine, instance: Instance, path: str, timeout_s: float, gate: str) -> str:
    """Wait until `path` of the instance answers 2xx, and return the fact.

    Raises StartFailed when the instance ends before that, NotReady after `timeout_s`.
    """
    observations: list[health.Observation] = []

    def decided() -> bool:
        observations[:] = [health.probe(instance.url, path, timeout_s=2.0, kind=gate)]
        return observations[0].ok or engine.died(instance)

    succeeded_or_died = waiting.until(decided, timeout_s, every_s=0.05)
    last = observations[0]
    if last.ok:
        return f"{path} {last.fact}"
    if succeeded_or_died:
        log = engine.log(instance)
        raise StartFailed(f"{_described(instance)} ended before it was {gate}; its last lines:\n{log}")
    raise NotReady(
        f"{_described(instance)} not {gate} after {timeout_s} s; last answer of {path}: {last.fact}. "
        "Traffic was not touched; look at its log and its readiness path"
    )


def wait_for_edge(healthy: Callable[[], bool], instance: Instance, timeout_s: float) -> None:
    """Wait until the edge reports the instance healthy; raises NotReady."""
    if not waiting.until(healthy, timeout_s, every_s=0.02):
        raise NotReady(
            f"{_described(instance)} not healthy at the edge after {timeout_s} s; check the live path of the profile. "
            "Traffic was not touched"
        )


def send_until_warm(url: str, requests: tuple[profile.Probe, ...], limits: profile.Warmup) -> str:
    """Send `requests` in turn until the medians of two batches of ten agree, or the maximum is sent; return the fact.

    A failure here decides nothing: the smoke test does.
    """
    if not requests or not limits.max_requests:
        return "no warm-up in the profile"
    medians: list[float] = []
    batch: list[float] = []
    sent = failed = 0
    for request in islice(cycle(requests), limits.max_requests):
        observation = health.perform(url, request, kind="warm-up")
        sent, failed = sent + 1, failed + (not observation.ok)
        batch.append(observation.duration_s)
        if len(batch) == BATCH:
            medians.append(statistics.median(batch))
            batch = []
            if sent >= limits.min_requests and settled(medians, limits.settle_ratio):
                break
    last_ms = (medians[-1] if medians else statistics.median(batch)) * 1e3
    return f"{sent} requests, {failed} failed, median of the last ten {last_ms:.1f} ms"


def settled(medians: list[float], ratio: float) -> bool:
    """Return whether the last two medians differ by less than `ratio` of the first of them."""
    return len(medians) >= 2 and abs(medians[-1] - medians[-2]) < ratio * medians[-2]


def _new(rollout: Rollout) -> Instance:
    assert rollout.new, "the state `started` comes first"
    return rollout.new


def _described(instance: Instance) -> str:
    return f"{instance.colour} (release {instance.release}) at {instance.address}"
