"""What an operator may do with the front door of a deployment: hold its requests, close it, and replace its edge.

The caller holds the lock of the deployment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tailrace.deploy import health, reachability
from tailrace.deploy.edge import START_TIMEOUT_S, Maintenance, Upstream, exposure
from tailrace.deploy.engines import Instance
from tailrace.deploy.journal import JournalEntry
from tailrace.deploy.rollout import CommandResult, Observe
from tailrace.errors import DeployError, EdgeRejected
from tailrace.headers import COLOUR
from tailrace.host import files, waiting

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

SETTINGS = "edge"
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
    deployment.edge.pause(generation, upstream(deployment, serving), hold_s, deployment.profile.rollout.ack_timeout_s)
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
    deployment.edge.unpause(generation, upstream(deployment, serving), deployment.profile.rollout.ack_timeout_s)
    require_healthy(deployment, START_TIMEOUT_S)
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
    """Let the colours answer again; raises DeployError, and leaves the page, when none could."""
    if not deployment.is_up or not deployment.edge.routes().maintenance:
        return CommandResult("nothing", "the maintenance page is not on")
    serving = deployment.serving
    if serving is None:
        name = deployment.profile.name
        raise DeployError(f"{name}: nothing serves, so the maintenance page stays; use `deploy`, then end it")
    deployment.edge.ensure()
    require_healthy(deployment, START_TIMEOUT_S)  # behind the page, which stays when this fails
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


def ensure(deployment: Deployment, observe: Observe | None = None) -> tuple[str, ...]:
    """Have the edge run, by the settings of the profile; return what of them was changed at a running edge.

    That is journalled and observed, too. Raises EdgeRejected where a running edge cannot take a setting, and at a
    damaged file.
    """
    edge, changed = deployment.edge, []
    if damage := edge.configuration.damage():
        raise EdgeRejected(damage)
    if deployment.instances and not edge.server.alive():  # else this is its first start
        changed.append("the edge did not run; it was started anew on its files")
        deployment.journal.append("", "note", reachability.STARTED_ANEW, changed[0])
    if edge.layout.admin.port:
        changed += _retire(deployment)
        edge = deployment.edge
    restored = reachability.restore_edge(deployment) if edge.server.alive() else ""
    changed += [restored] if restored else []
    if edge.server.alive():
        for fact in _apply(deployment):
            entry = deployment.journal.append("", "note", SETTINGS, fact)
            changed.append(fact)
            if observe:
                observe(SETTINGS, entry.t_ns, fact)
    elif edge.drift():
        edge.adopt()  # nobody is connected who could lose something
    if (deployment.edge.ensure() or restored) and (serving := deployment.serving):
        deployment.edge.wait_for_colour(serving.colour)
    return tuple(changed)


def _retire(deployment: Deployment) -> list[str]:
    """End an edge of an earlier version, which any user of this machine could control; return what was done."""
    admin, facts = deployment.edge.layout.admin, list[str]()
    if deployment.edge.server.alive():
        facts = [f"the edge was started anew: its admin was open to all users of this machine at {admin}"]
        deployment.journal.append("", "note", SETTINGS, facts[0])
        deployment.edge.server.stop()
    deployment.edge.adopt()
    return facts


def _apply(deployment: Deployment) -> Iterator[str]:
    """Bring the running edge to the settings of the profile; yield each fact once it holds."""
    edge, former = deployment.edge, deployment.edge.layout.ingress
    if not (differences := edge.drift()):
        return
    moved = edge.intended.ingress != former
    new, old = edge.intended.settings, edge.layout.settings
    outside = moved or (new.tls, new.metrics_port) != (old.tls, old.metrics_port)
    if outside and (reason := deployment.engine.lacks.get("edge changes")):
        raise EdgeRejected(f"{deployment.profile.name}: {'; '.join(differences)}. {reason}. {COLD}")
    changes = edge.changes()
    edge.apply()
    yield f"applied: {', '.join(changes)}"
    if moved:
        limit_s = deployment.profile.rollout.drain_timeout_s
        yield f"{deployment.url} answers; so does {former} until it is unused, for up to {limit_s:g} s"
        yield deployment.edge.close_former(former, limit_s)


def require_healthy(deployment: Deployment, timeout_s: float) -> None:
    """Wait until the edge finds the serving instance healthy, and has its answer; raises EdgeRejected with what it got.

    While requests are held there is no such answer to wait for. Behind a maintenance page there is: through the door of
    the probe, the colours answer.
    """
    serving, routes = deployment.serving, deployment.edge.routes()
    name = deployment.profile.name
    if serving is None:
        raise EdgeRejected(f"{name}: nothing serves, and every request gets 503; use `deploy`")
    if routes.hold_s:
        return
    asked, edge = deployment.releases.acceptance(serving.release), deployment.edge
    found = ""

    def healthy() -> bool:
        nonlocal found
        answer = edge.probe() if edge.healthy(serving.colour, serving.address) else None
        by_it = answer is not None and answer.headers.get(COLOUR) == serving.colour
        ok = by_it and answer is not None and asked.health.accepts(answer.status)
        if not ok:
            found = health.as_the_edge(edge, serving, asked).fact
        return ok

    if not waiting.until(healthy, timeout_s, every_s=0.05):
        raise EdgeRejected(
            f"{name}: {serving.name} (release {serving.release}) is not healthy at the edge after {timeout_s:g} s: "
            f"GET {asked.health.live} gets {found}. See `tailrace status`, and its log; the release before is one "
            "`rollback` away"
        )
    if not (reached := reachability.ask(edge)).ok:
        raise EdgeRejected(f"{name}: {serving.name} is healthy, and nobody is answered: {reached.fact}")


def upgrade(deployment: Deployment, cold: bool) -> CommandResult:
    """Replace the edge by a new one, and wait until users are answered there.

    Raises EdgeRejected where that would lose requests, unless it is `cold`, and where nothing healthy serves.
    """
    name = deployment.profile.name
    if not deployment.is_up:
        raise DeployError(f"{name}: it is not up, so there is no edge to upgrade; use `deploy`")
    exposure.check(deployment.profile.edge)
    reason = deployment.engine.lacks.get("edge handover")
    if reason and not cold:
        raise EdgeRejected(f"{name}: {reason}. {COLD}")
    _refuse_without_health(deployment)
    timeout_s = deployment.profile.rollout.ack_timeout_s
    if deployment.edge.layout.admin.port:
        if not cold:
            raise EdgeRejected(f"{name}: an edge of an earlier version cannot be handed over to this one. {COLD}")
        fact = "; ".join(ensure(deployment))
    elif reason:
        deployment.edge.adopt()
        fact = deployment.edge.replace_cold()
    else:
        moved = deployment.edge.intended.ingress != deployment.edge.layout.ingress
        facts = list(_apply(deployment)) if moved else []
        deployment.edge.adopt()
        fact = "; ".join([*facts, deployment.edge.replace(timeout_s)])
    deployment.journal.append("", "note", "edge upgraded", fact)
    require_healthy(deployment, START_TIMEOUT_S)
    return CommandResult("done", fact)


def _refuse_without_health(deployment: Deployment) -> None:
    """Raise EdgeRejected when a new edge would find nothing healthy: the one that runs is not given up for it."""
    serving = deployment.serving
    if serving is None:
        raise EdgeRejected(f"{deployment.profile.name}: nothing serves; use `deploy`. The edge was not replaced")
    asked, edge = deployment.releases.acceptance(serving.release), deployment.edge
    observations: list[health.Observation] = []

    def healthy() -> bool:
        observations[:] = [health.as_the_edge(edge, serving, asked)]
        return observations[0].ok

    if not waiting.until(healthy, deployment.profile.rollout.ack_timeout_s, every_s=0.1):
        raise EdgeRejected(
            f"{deployment.profile.name}: {serving.name} is not healthy: GET {asked.health.live} gets "
            f"{observations[0].fact}. The edge was not replaced: a new one would find nothing to serve"
        )


def upstream(deployment: Deployment, instance: Instance) -> Upstream:
    """Return `instance` as the edge reaches it."""
    return instance.upstream(deployment.releases.acceptance(instance.release))
