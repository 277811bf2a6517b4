"""Faults to inject for the length of a block, into the provider or the process that serves, and how to watch them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tailrace.deploy import Observation, Release, Target, Watch, acceptance
from tailrace.deploy.engines import Slot
from tailrace.errors import DeployError, NotReady
from tailrace.host import waiting
from tailrace.profile import Profile
from tailrace.testbed.stack import Stack

PROVIDER_OUTAGE = "provider outage"
PROCESS_HANG = "process hangs"
FAILS_WHILE_BAKING = "failing while baking"


def skipped(profile: Profile) -> dict[str, str]:
    """Return the faults that are not injected into the deployment of `profile`, each with the reason."""
    reasons = {}
    if not profile.service.ours and profile.service.provider_env is None:
        reasons[PROVIDER_OUTAGE] = (
            "the profile does not say how the service learns its provider's address (service.provider_env)"
        )
    elif not profile.provider.simulated:
        reasons[PROVIDER_OUTAGE] = f"{profile.provider.base_url} is a real provider"
    if profile.teardown == "never":
        stays = "this deployment is there to stay: what serves users is not broken on purpose"
        reasons |= {PROCESS_HANG: stays, FAILS_WHILE_BAKING: stays}
    return reasons


def wait_until(
    watch: Watch, expected: Mapping[str, bool | None], at_least_s: float, at_most_s: float = 5.0, every_s: float = 0.05
) -> None:
    """Wait at least `at_least_s` and at most `at_most_s` until the latest answer of each probe is as `expected`.

    Only probes that were sent after the call count; where None is expected, any answer will do. Nothing is decided
    here: whether a probe reacted is a check.
    """
    began_ns, began_s = time.perf_counter_ns(), time.monotonic()
    awaited = {probe: ok for probe, ok in expected.items() if probe in watch.targets and ok is not None}

    def reached() -> bool:
        latest = {row.kind: row.ok for row in watch.rows if row.t_ns >= began_ns}
        waited_s = time.monotonic() - began_s
        return waited_s >= at_least_s and all(latest.get(p) == ok for p, ok in awaited.items())

    waiting.until(reached, max(at_least_s, at_most_s), every_s=every_s)


@contextmanager
def provider_outage(stack: Stack) -> Iterator[bool]:
    """Have the simulated provider answer nothing but 503 for the length of the block; yield False where skipped."""
    if PROVIDER_OUTAGE in skipped(stack.profile):
        yield False
        return
    with stack.provider.broken({"kind": "outage"}):
        yield True


@contextmanager
def process_hang(stack: Stack) -> Iterator[bool]:
    """Suspend the serving process for the length of the block; yield False where that is skipped.

    It keeps its port and answers nothing.
    """
    serving = stack.deployment.serving
    if serving is None:
        raise DeployError(f"{stack.profile.name}: nothing serves, so nothing can hang; bring the deployment up first")
    if PROCESS_HANG in skipped(stack.profile):
        yield False
        return
    stack.deployment.engine.freeze(serving)
    try:
        yield True
    finally:
        stack.deployment.engine.thaw(serving)


def slow_start(stack: Stack, release: Release, held_s: float) -> Observation:
    """Start an instance beside the one that serves, hold it up for `held_s`, and stop it once its start is decided.

    Return how its startup check ended; `duration_s` counts from the start. Its process is suspended at once and resumed
    after `held_s`: this makes any program start slowly.
    """
    deployment, limit_s = stack.deployment, stack.profile.rollout.start_timeout_s
    colour = "green" if deployment.status().serving == "blue" else "blue"
    slot = Slot(stack.profile.name, colour, 0, stack.environment(), deployment.secrets)
    started_ns = time.perf_counter_ns()
    instance = deployment.engine.start(release, slot)
    deployment.engine.freeze(instance)
    deployment.edge.point(colour, instance.upstream(release.acceptance))
    thaw = threading.Timer(held_s, deployment.engine.thaw, [instance])
    thaw.start()
    ok = True
    try:
        target = Target.of(instance, release.acceptance, deployment.edge)
        fact = acceptance.wait_for_success(deployment.engine, instance, target, "started", limit_s)
    except NotReady as error:
        ok, fact = False, str(error)
    finally:
        thaw.cancel()
        thaw.join()
        waited_s = (time.perf_counter_ns() - started_ns) / 1e9
        deployment.engine.stop(instance, grace_s=2.0)
        deployment.edge.point(colour, None)
    return Observation(started_ns, "startup", ok, 0, fact, waited_s)
