"""What an operator may do with the front door of a deployment: hold its requests, close it, and replace its edge.

The caller holds the lock of the deployment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tailrace.deploy.edge import Maintenance, Upstream, tls
from tailrace.deploy.engines import Instance
from tailrace.deploy.journal import JournalEntry
from tailrace.deploy.rollout import CommandResult
from tailrace.errors import DeployError, EdgeRejected
from tailrace.host import files

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

PAUSED, UNPAUSED = "paused", "unpaused"
CLOSED, OPENED = "maintenance", "maintenance ended"
"""States of the notes in the journal."""
RETRY_AFTER_S = 60
COLD = "See runbook/procedures/edge-upgrade.md, then say --cold"


def pause(deployment: Deployment, hold_s: float) -> CommandResult:
    """Have the edge hold new requests, each for up to about `hold_s`."""
    name, serving = deployment.profile.name, deployment.serving
    if serving is None:
        raise DeployError(f"{name}: nothing serves, so there is nothing to pause")
    routes = deployment.edge.routes()
    if routes.maintenance:
        raise DeployError(f"{name}: the maintenance page is on, so no request comes that could be held; end it first")
    if routes.hold_s:
        return CommandResult("nothing", "paused already")
    generation = deployment.next_generation()
    fact = f"{serving.name} gets no new requests; each is held for up to about {hold_s:g} s"
    deployment.journal.append("", "note", PAUSED, fact, generation=generation)
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
    deployment.journal.append("", "note", UNPAUSED, serving.name, generation=generation)
    deployment.edge.unpause(generation, _upstream(deployment, serving), deployment.profile.rollout.ack_timeout_s)
    return CommandResult("done", f"{serving.name} gets requests again")


def close(deployment: Deployment, page: Maintenance) -> CommandResult:
    """Answer every user with the maintenance page; raises DeployError when there is no edge that could.

    A rollout that was left half-way is no obstacle: that is when the page is needed.
    """
    name = deployment.profile.name
    if not deployment.is_up:
        raise DeployError(f"{name}: it is not up, so there is no edge that could show a page; use `deploy`")
    deployment.edge.ensure()
    if deployment.edge.routes().maintenance == page:
        return CommandResult("nothing", "the same page is on already")
    generation = deployment.next_generation()
    size = f"a page of {len(page.page.encode()):,} bytes ({page.content_type})"
    fact = f"every request is answered with 503, Retry-After {page.retry_after_s} s, and {size}"
    deployment.journal.append("", "note", CLOSED, fact, generation=generation)
    files.write(_kept(deployment), json.dumps(page.document()) + "\n")
    deployment.edge.maintain(generation, page, deployment.profile.rollout.ack_timeout_s)
    return CommandResult("done", fact)


def reopen(deployment: Deployment) -> CommandResult:
    """Let the colours answer again; raises DeployError when none could."""
    if not deployment.is_up or not deployment.edge.routes().maintenance:
        return CommandResult("nothing", "the maintenance page is not on")
    serving = deployment.serving
    if serving is None:
        name = deployment.profile.name
        raise DeployError(f"{name}: nothing serves, so the maintenance page stays; use `deploy`, then end it")
    deployment.edge.ensure()
    generation = deployment.next_generation()
    deployment.journal.append("", "note", OPENED, serving.name, generation=generation)
    deployment.edge.maintain(generation, None, deployment.profile.rollout.ack_timeout_s)
    return CommandResult("done", f"{serving.name} answers again")


def intended_page(deployment: Deployment) -> Maintenance | None:
    """Return the page that was last put up, if it was not taken down since: what a damaged route file ought to hold."""
    states = [entry.state for entry in deployment.journal.entries() if entry.state in (CLOSED, OPENED, "down")]
    if not states or states[-1] != CLOSED:
        return None
    try:
        return Maintenance(**json.loads(_kept(deployment).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Maintenance.of(RETRY_AFTER_S)


def since(entries: Sequence[JournalEntry], state: str) -> str:
    """Return when the front door was last brought into `state`, by the wall clock; "" when it is not known."""
    return next((entry.at for entry in reversed(entries) if entry.kind == "note" and entry.state == state), "")


def _kept(deployment: Deployment) -> Path:
    return deployment.folder / "maintenance.json"


def upgrade(deployment: Deployment, cold: bool) -> CommandResult:
    """Replace the edge by a new one; raises EdgeRejected where that would lose requests, unless it is `cold`."""
    name = deployment.profile.name
    if not deployment.is_up:
        raise DeployError(f"{name}: it is not up, so there is no edge to upgrade; use `deploy`")
    tls.check(deployment.profile.edge.tls)
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
