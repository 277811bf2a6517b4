"""Candidates to deploy: a good release, one that never gets ready, and one that fails under traffic."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tailrace.deploy import Release
from tailrace.deploy.account import UNTOUCHED
from tailrace.deploy.outcome import DeployOutcome
from tailrace.deploy.rollout import State
from tailrace.errors import NotReady, RolledBack, StartFailed
from tailrace.profile import policy
from tailrace.testbed import faults
from tailrace.testbed.stack import Stack

NOWHERE = "http://127.0.0.1:9/v1"
"""The discard port: nothing listens there."""


@dataclass(frozen=True)
class Candidate:
    """A release, the environment of its instance, and what to do when the switch reaches a state, by state."""

    release: Release
    environment: Mapping[str, str] = field(default_factory=dict)
    on: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    skip_reason: str = ""
    """Why it is not deployed here at all."""


def good(stack: Stack, release: Release) -> Candidate:
    """Return a candidate of the release as it is."""
    return Candidate(release, stack.environment())


def never_ready(stack: Stack, release: Release) -> Candidate:
    """Return a candidate that starts and never gets ready.

    Our service gets a provider that cannot be reached; any other service is replaced by a program that sleeps.
    """
    if stack.profile.service.ours:
        return Candidate(release, stack.environment() | {"TAILRACE_PROVIDER_URL": NOWHERE})
    return Candidate(release.configured(command=("sleep", "3600")), stack.environment())


def failing(stack: Stack, release: Release) -> Candidate:
    """Return a candidate that fails right after the switch.

    Our service gets a provider of its own, which turns slow and faulty, and no retries; any other service is killed.
    """
    if reason := faults.skipped(stack.profile).get(faults.FAILS_WHILE_BAKING):
        return Candidate(release, skip_reason=reason)
    if not stack.profile.service.ours:
        return Candidate(release, stack.environment(), on={"baking": lambda: _kill_serving(stack)})
    provider = stack.spare_provider("failing")
    errors_and_delays: list[dict[str, Any]] = [
        {"kind": "error500", "probability": 0.3},
        {"kind": "slow", "probability": 0.5, "delay_s": 0.3},
    ]
    return Candidate(
        _unprotected(release),
        stack.environment(provider),
        on={"switched": lambda: provider.inject(*errors_and_delays)},
    )


def _unprotected(release: Release) -> Release:
    """Return a release of our service that hides no failure of its provider: no retries, and nobody else to ask."""
    text = release.environment.get(policy.SETTING)
    if text is None:
        return release.configured(TAILRACE_RETRY_ATTEMPTS="1")
    said = {name: part for name, part in json.loads(text).items() if name not in ("fallbacks", "targets")}
    said["retry"] = {**(said.get("retry") or {}), "attempts": 1}
    if said.get("cache"):
        said["cache"].pop("stale_if_error_s", None)
    settings = {name: value for name, value in release.environment.items() if name != "TAILRACE_RETRY_ATTEMPTS"}
    return replace(release, environment={**settings, policy.SETTING: policy.text(said)})


def _kill_serving(stack: Stack) -> None:
    if serving := stack.deployment.serving:
        stack.deployment.engine.kill(serving)


def deploy(stack: Stack, candidate: Candidate, **rollout: Any) -> DeployOutcome:
    """Switch to `candidate` and return the outcome; `rollout` replaces fields of the profile's `rollout`.

    A candidate that is refused or rolled back is an outcome, not an error; whatever else goes wrong is raised.
    """
    if candidate.skip_reason:
        return DeployOutcome("skipped", candidate.skip_reason, "", ())
    settings = stack.profile.rollout.model_copy(update=rollout)
    deployment = replace(stack.deployment, profile=stack.profile.model_copy(update={"rollout": settings}))
    states: list[State] = []

    def observe(state: str, t_ns: int, fact: str) -> None:
        states.append((state, t_ns, fact))
        candidate.on.get(state, _nothing)()

    before = deployment.status().serving
    try:
        done = deployment.switch(candidate.release, environment=candidate.environment, observe=observe)
    except (NotReady, StartFailed) as error:
        return DeployOutcome("refused", str(error), before, tuple(states), error.cut, error.account or UNTOUCHED)
    except RolledBack as error:
        return DeployOutcome("rolled back", str(error), before, tuple(states), error.cut, error.account or UNTOUCHED)
    return DeployOutcome("switched", "", done.to_colour, tuple(states), done.cut, done.account)


def _nothing() -> None:
    pass
