"""What an operator may do with the front door of a deployment: hold its requests, and replace its edge.

The caller holds the lock of the deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tailrace.deploy.edge import Upstream
from tailrace.deploy.engines import Instance
from tailrace.deploy.rollout import CommandResult
from tailrace.errors import DeployError, EdgeRejected

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

COLD = "See runbook/procedures/edge-upgrade.md, then say --cold"


def pause(deployment: Deployment, hold_s: float) -> CommandResult:
    """Have the edge hold new requests, each for up to about `hold_s`."""
    name, serving = deployment.profile.name, deployment.serving
    if serving is None:
        raise DeployError(f"{name}: nothing serves, so there is nothing to pause")
    if deployment.edge.routes().hold_s:
        return CommandResult("nothing", "paused already")
    generation = deployment.next_generation()
    fact = f"{serving.name} gets no new requests; each is held for up to about {hold_s:g} s"
    deployment.journal.append("", "note", "paused", fact, generation=generation)
    deployment.edge.pause(generation, _upstream(deployment, serving), hold_s, deployment.profile.rollout.ack_timeout_s)
    return CommandResult("done", fact)


def unpause(deployment: Deployment) -> CommandResult:
    """Let the requests go on that the edge holds; raises DeployError when the instance is gone."""
    if not deployment.is_up or not deployment.edge.routes().hold_s:
        return CommandResult("nothing", "not paused")
    serving = deployment.serving
    if serving is None:
        raise DeployError(f"{deployment.profile.name}: the instance died while paused; use `down`, then `deploy`")
    generation = deployment.next_generation()
    deployment.journal.append("", "note", "unpaused", serving.name, generation=generation)
    deployment.edge.unpause(generation, _upstream(deployment, serving), deployment.profile.rollout.ack_timeout_s)
    return CommandResult("done", f"{serving.name} gets requests again")


def upgrade(deployment: Deployment, cold: bool) -> CommandResult:
    """Replace the edge by a new one; raises EdgeRejected where that would lose requests, unless it is `cold`."""
    name = deployment.profile.name
    if not deployment.is_up:
        raise DeployError(f"{name}: it is not up, so there is no edge to upgrade; use `deploy`")
    reason = deployment.engine.lacks.get("edge handover")
    if reason and not cold:
        raise EdgeRejected(f"{name}: {reason}. {COLD}")
    timeout_s = deployment.profile.rollout.ack_timeout_s
    fact = deployment.edge.replace_cold() if reason else deployment.edge.replace(timeout_s)
    deployment.journal.append("", "note", "edge upgraded", fact)
    return CommandResult("done", fact)


def _upstream(deployment: Deployment, instance: Instance) -> Upstream:
    default = deployment.profile.service.acceptance
    return instance.upstream(deployment.releases.acceptance(instance.release, default))
