"""What an instance has to show before it gets traffic: it starts, is ready, is warm, and answers correctly."""

from __future__ import annotations

import statistics
from itertools import cycle, islice
from typing import Literal

from tailrace import profile, request_headers
from tailrace.deploy import health, token_watch
from tailrace.deploy.edge import CHECK_TIMEOUT_S, Edge
from tailrace.deploy.engines import Engine, Instance
from tailrace.deploy.rollout import Rollout
from tailrace.errors import NotReady, StartFailed
from tailrace.host import waiting

BATCH = 10
DENIED = (401, 403)
"""Statuses by which a service asks for a key."""


def start(rollout: Rollout) -> str:
    """Start the new colour. The edge knows its endpoint before any route could name it."""
    rollout.counters_at_start = rollout.edge.counters()
    rollout.tokens_at_start = token_watch.read(rollout.profile, rollout.old_page)
    rollout.new = new = rollout.new or rollout.engine.start(rollout.release, rollout.slot)
    rollout.edge.point(rollout.colour, new.upstream(rollout.release.acceptance))
    timeout_s, asked = rollout.settings.start_timeout_s, rollout.release.acceptance
    target = health.Target.of(new, asked, rollout.edge)
    fact = wait_for_success(rollout.engine, new, target, "started", timeout_s)
    require_open_live_path(new, target)
    wait_for_edge(rollout.edge, new, asked, timeout_s)
    state = rollout.engine.state(new)
    return f"{new.name} at {new.address}: {fact}" + (f"; {state}" if state != "running" else "")


def wait_until_ready(rollout: Rollout) -> str:
    """Wait until the new colour says that it is ready."""
    timeout_s, new = rollout.settings.ready_timeout_s, _new(rollout)
    target = health.Target.of(new, rollout.release.acceptance, rollout.edge)
    return wait_for_success(rollout.engine, new, target, "ready", timeout_s)


def warm_up(rollout: Rollout) -> str:
    """Send warm-up requests through the preview until latency settles."""
    asked = rollout.release.acceptance
    requests = tuple(asked.addressed(request) for request in asked.warmup)
    return send_until_warm(rollout.preview_url, requests, rollout.settings.warmup, asked.timeout_s)


def smoke_test(rollout: Rollout) -> str:
    """Send each smoke request once, through the preview; raises NotReady at the first wrong answer."""
    new = _new(rollout)
    passed = send_smoke_tests(rollout.preview_url, rollout.release.acceptance, new)
    priority = rollout.engine.favour(new)
    if rollout.engine.died(new):
        raise _ended(rollout.engine, new, "accepted")
    return "; ".join(filter(None, (passed, priority)))


def send_smoke_tests(url: str, asked: profile.Acceptance, instance: Instance) -> str:
    """Send each smoke request of `asked` once to `url`, and return the fact; raises NotReady at a wrong answer."""
    requests = asked.smoke
    for number, request in enumerate(requests, start=1):
        addressed = asked.addressed(request)
        observation = health.perform(url, addressed, asked.timeout_s, "smoke")
        if not observation.ok:
            raise NotReady(
                f"{_described(instance)} failed smoke test {number} of {len(requests)}, {request.method} "
                f"{request.path}: {observation.fact}. {_advice(observation, addressed)}Traffic was not touched"
            )
    return f"{len(requests)} smoke tests answered as expected"


def wait_for_success(
    engine: Engine, instance: Instance, target: health.Target, gate: Literal["started", "ready"], timeout_s: float
) -> str:
    """Wait until the path of that gate answers as a healthy one does, and return the fact.

    Raises StartFailed when the instance ends before that, NotReady after `timeout_s`.
    """
    asked = target.asked
    path = asked.health.startup if gate == "started" else asked.health.ready
    observations: list[health.Observation] = []

    def decided() -> bool:
        observations[:] = [target.check(path, 2.0, gate)]
        return observations[0].ok or engine.died(instance)

    succeeded_or_died = waiting.until(decided, timeout_s, every_s=0.05)
    last = observations[0]
    if last.ok:
        return f"{path} {last.fact}"
    if succeeded_or_died:
        raise _ended(engine, instance, gate)
    raise NotReady(
        f"{_described(instance)} not {gate} after {timeout_s} s; last answer of {path}: {last.fact}. "
        f"{_advice(last, profile.Probe(headers=asked.headers))}{_listens(engine, instance)}Traffic was not touched; "
        f"look at its log ({engine.log_path(instance.deployment, instance.name)}) and its readiness path"
    )


def require_open_live_path(instance: Instance, target: health.Target) -> None:
    """Raise NotReady when the live path wants a key: the edge asks for it without one, or a file would hold the key."""
    asked = target.asked
    observation = health.probe(target.url, asked.health.live, headers=asked.health.headers)
    if observation.status in DENIED:
        raise NotReady(
            f"{_described(instance)}: live path {asked.health.live} without a key answered {observation.fact}. The "
            "edge checks it without headers, because they would stand in its configuration file. Let service.health."
            "live name a path that needs no key. Traffic was not touched"
        )


def wait_for_edge(edge: Edge, instance: Instance, asked: profile.Acceptance, timeout_s: float) -> None:
    """Wait until the edge reports the instance healthy; raises NotReady with what the edge gets as an answer."""
    if waiting.until(lambda: edge.healthy(instance.colour, instance.address), timeout_s, every_s=0.02):
        return
    seen = health.as_the_edge(edge, instance, asked)
    raise NotReady(
        f"{_described(instance)} not healthy at the edge after {timeout_s} s. Its check, GET {asked.health.live} with "
        f"Host {instance.upstream(asked).host}, gets {seen.fact}; expected {' or '.join(asked.health.status)} within "
        f"{CHECK_TIMEOUT_S:g} s: see service.health.live, .status and .host. Traffic was not touched"
    )


def send_until_warm(url: str, requests: tuple[profile.Probe, ...], limits: profile.Warmup, timeout_s: float) -> str:
    """Send `requests` in turn until the medians of two batches of ten agree, or the maximum is sent; return the fact.

    A failure here decides nothing: the smoke test does.
    """
    if not requests or not limits.max_requests:
        return "no warm-up in the profile"
    medians: list[float] = []
    batch: list[float] = []
    sent = failed = 0
    for request in islice(cycle(requests), limits.max_requests):
        observation = health.perform(url, request, timeout_s, "warm-up")
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


def _ended(engine: Engine, instance: Instance, gate: str) -> StartFailed:
    how, log = engine.state(instance).removeprefix("ended: "), engine.log(instance)
    return StartFailed(f"{_described(instance)} ended before it was {gate}: {how}; its log {log}")


def _listens(engine: Engine, instance: Instance) -> str:
    """Return where the processes of the instance listen, when that is not where they are asked."""
    found = engine.listening(instance)
    if found is None or any(place.rpartition(":")[2] == str(instance.address.port) for place in found):
        return ""
    if not found:
        return "Its processes listen on no port yet. "
    return (
        f"Its processes listen on {', '.join(found)}, and not on port {instance.address.port}, which {{port}} in the "
        "words of service.command stands for. "
    )


def _advice(observation: health.Observation, request: profile.Probe) -> str:
    """Return what to write into the profile when the service wants a key, or does not accept the one that it got."""
    if observation.status not in DENIED:
        return ""
    if names := request_headers.variables(request.headers):
        return f"It got the value of {', '.join(names)}: is it a key of this service? "
    return (
        "It wants a key; add to the profile: service: {headers: {authorization: 'Bearer ${NAME}'}}, and export NAME. "
    )


def _new(rollout: Rollout) -> Instance:
    assert rollout.new, "the state `started` comes first"
    return rollout.new


def _described(instance: Instance) -> str:
    return f"{instance.colour} (release {instance.release}) at {instance.address}"
