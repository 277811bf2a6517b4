"""What an instance has to show before it gets traffic: it starts, it is ready, it is warm, it answers rightly."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import cycle, islice

from tailrace import profile
from tailrace.deploy import health
from tailrace.deploy.engines import Engine, Instance
from tailrace.errors import NotReady, StartFailed
from tailrace.host import waiting

BATCH = 10


def answers(engine: Engine, instance: Instance, path: str, timeout_s: float, gate: str) -> str:
    """Wait until `path` of the instance answers 2xx and return the fact.

    Raises StartFailed when the instance ends meanwhile, NotReady when the time is over.
    """
    seen: list[health.Observation] = []
    ended: list[bool] = []

    def decided() -> bool:
        seen[:] = [health.probe(instance.url, path, timeout_s=2.0, kind=gate)]
        ended[:] = [not seen[0].ok and engine.died(instance)]
        return seen[0].ok or ended[0]

    waiting.until(decided, timeout_s, every_s=0.05)
    if seen[0].ok:
        return f"{path} {seen[0].fact}"
    if ended[0]:
        raise StartFailed(f"{_named(instance)} ended before it was {gate}; its last lines:\n{engine.log(instance)}")
    raise NotReady(
        f"{_named(instance)} not {gate} after {timeout_s} s; last answer of {path}: {seen[0].fact}. "
        "Traffic was not touched; look at its log and its readiness path"
    )


def at_edge(healthy: Callable[[], bool], instance: Instance, timeout_s: float) -> str:
    """Wait until the edge finds the instance healthy; raises NotReady."""
    if waiting.until(healthy, timeout_s, every_s=0.02):
        return "healthy at the edge"
    raise NotReady(
        f"{_named(instance)} not healthy at the edge after {timeout_s} s; check the live path of the profile. "
        "Traffic was not touched"
    )


def warm(url: str, asked: tuple[profile.Probe, ...], limits: profile.Warmup) -> str:
    """Send requests until the medians of two batches of ten agree, or the most are sent; return the fact.

    What fails here is no verdict: the smoke test is.
    """
    if not asked or not limits.max_requests:
        return "no warm-up asked for"
    medians: list[float] = []
    batch: list[float] = []
    sent = failed = 0
    for request in islice(cycle(asked), limits.max_requests):
        seen = health.perform(url, request, kind="warm-up")
        sent, failed = sent + 1, failed + (not seen.ok)
        batch.append(seen.duration_s)
        if len(batch) == BATCH:
            medians.append(statistics.median(batch))
            batch = []
            if sent >= limits.min_requests and settled(medians, limits.settle_ratio):
                break
    last_ms = (medians[-1] if medians else statistics.median(batch)) * 1e3
    return f"{sent} requests, {failed} failed, median of the last ten {last_ms:.1f} ms"


def settled(medians: list[float], ratio: float) -> bool:
    """Return whether the last two medians differ by less than `ratio` of the former."""
    return len(medians) >= 2 and abs(medians[-1] - medians[-2]) < ratio * medians[-2]


def smoke(url: str, asked: tuple[profile.Probe, ...], instance: Instance) -> str:
    """Send each request once, through the preview; raises NotReady at the first wrong answer."""
    for number, request in enumerate(asked, start=1):
        seen = health.perform(url, request, kind="smoke")
        if not seen.ok:
            raise NotReady(
                f"{_named(instance)} failed smoke test {number} of {len(asked)}, {request.method} {request.path}: "
                f"{seen.fact}. Traffic was not touched"
            )
    return f"{len(asked)} smoke tests answered as expected"


def _named(instance: Instance) -> str:
    return f"{instance.colour} (release {instance.release}) at {instance.address}"
