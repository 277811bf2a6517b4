"""Continue after a controller died, forward or back, from what the journal, the route file and the labels say.

The caller holds the lock of the deployment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tailrace.deploy import front_door, hooks, secret_digests, switch
from tailrace.deploy.account import Tally
from tailrace.deploy.edge import Routes, other
from tailrace.deploy.engines import Instance, Slot
from tailrace.deploy.journal import JournalEntry
from tailrace.deploy.rollout import CommandResult, Observe, Rollout
from tailrace.errors import DeployError, EdgeRejected

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment


def resume(deployment: Deployment, observe: Observe | None = None) -> CommandResult:
    """Continue where the controller died; a rollback that was interrupted is finished.

    A damaged route file is written anew from the journal, the edge's other files from what runs. With a damaged
    journal, the route file decides what serves.
    """
    repaired = "; ".join(filter(None, (_repair_configuration(deployment), _repair_routes(deployment))))
    if deployment.journal.damaged():
        return _confirm(deployment)
    entries = deployment.journal.unfinished()
    if not entries:
        return CommandResult("done", repaired) if repaired else CommandResult("nothing", "no rollout was interrupted")
    rollout = _restore(deployment, entries, observe)
    rollbacks = [entry for entry in entries if entry.kind == "intent" and entry.state == "rolled back"]
    if rollbacks:
        switch.roll_back(rollout, rollbacks[0].data["why"])
        return _rolled_back(rollout)
    reached = {entry.state for entry in entries if entry.kind == "reached"}
    _refuse_rotated(deployment, rollout, reached)
    _refuse_dead(rollout, reached)
    switched = switch.run(rollout, reached)
    return CommandResult("done", switched.states[-1][2], switched.states, switched.cut, switched.account)


def abort(deployment: Deployment, observe: Observe | None = None) -> CommandResult:
    """Go back to the old colour; raises DeployError when that has already been stopped."""
    entries = deployment.journal.unfinished()
    if not entries:
        return CommandResult("nothing", "no rollout was interrupted")
    rollout = _restore(deployment, entries, observe)
    has_traffic = rollout.edge.routes().weights.get(rollout.colour)
    if rollout.old and not rollout.engine.alive(rollout.old) and has_traffic:
        raise DeployError(f"{rollout.old.name} is gone, so there is no way back; continue with resume")
    switch.roll_back(rollout, f"aborted; it had been left at {entries[-1].state}")
    return _rolled_back(rollout)


def _rolled_back(rollout: Rollout) -> CommandResult:
    return CommandResult("rolled back", rollout.states[-1][2], tuple(rollout.states), rollout.cut, rollout.account)


def _restore(deployment: Deployment, entries: Sequence[JournalEntry], observe: Observe | None) -> Rollout:
    """Return the rollout as the journal has it; remove what was started just before the death and never recorded."""
    deployment.engine.sweep(deployment.profile.name)
    hooks.end_strays(deployment.folder)
    deployment.edge.ensure()
    begin = entries[0].data
    release = deployment.releases.find(begin["release"])
    names = secret_digests.names(deployment, release)
    nice = deployment.profile.rollout.start_nice if begin["old"] else 0
    slot = Slot(deployment.profile.name, begin["to"], begin["generation"], begin["environment"], names, nice)
    old = _find(deployment, begin["old"]) or _gone(deployment, begin, slot)
    rollout = Rollout.of(deployment, entries[0].transition, release, slot, old, observe)
    rollout.new = _find(deployment, slot.name)
    rollout.states = [(e.state, e.t_ns, e.fact) for e in entries if e.kind in ("begin", "reached")]
    rollout.verb = begin["verb"]
    rollout.ledger.tallies += [Tally(**e.data["counted"]) for e in entries if "counted" in e.data]
    return rollout


def _find(deployment: Deployment, name: str) -> Instance | None:
    return next((instance for instance in deployment.instances if instance.name == name), None)


def _gone(deployment: Deployment, begin: Mapping[str, Any], slot: Slot) -> Instance | None:
    """Return a stand-in for an old instance that is gone by now: the rollout still came from it."""
    if not begin["old"]:
        return None
    address = deployment.edge.layout.admin  # never called
    return Instance(slot.deployment, begin["old"], other(slot.colour), "", 0, address, "0")


def _refuse_rotated(deployment: Deployment, rollout: Rollout, reached: set[str]) -> None:
    """Raise DeployError when the new colour would be started with other secrets than its release has."""
    sealed = secret_digests.sealed(deployment, rollout.release)
    if "started" not in reached and rollout.new is None and sealed.secrets != rollout.release.secrets:
        raise DeployError(
            f"{deployment.profile.name}: secrets of release {rollout.release.id} were rotated, or are not set here, "
            "since its rollout began; go back with abort, then deploy"
        )


def _refuse_dead(rollout: Rollout, reached: set[str]) -> None:
    """Roll back and raise DeployError when the new colour died after it had started."""
    if "started" in reached and (rollout.new is None or rollout.engine.died(rollout.new)):
        why = f"{rollout.slot.name} died while no controller was watching"
        switch.roll_back(rollout, why)
        error = DeployError(f"{why}; it was rolled back")
        error.states, error.cut, error.account = tuple(rollout.states), rollout.cut, rollout.account
        raise error


def _repair_configuration(deployment: Deployment) -> str:
    """Write the files of the edge, but for the routes, anew where one is damaged; return what was done."""
    configuration = deployment.edge.configuration
    damage = configuration.damage() if deployment.is_up else ""
    if not damage:
        return ""
    running = [instance for instance in deployment.instances if deployment.engine.alive(instance)]
    configuration.rewrite({instance.colour: front_door.upstream(deployment, instance) for instance in running})
    deployment.journal.append("", "note", "mended", damage)
    return "a file of the edge was damaged; all are written anew"


def _repair_routes(deployment: Deployment) -> str:
    """Write a damaged route file anew, as the journal last intended it; return what was done."""
    edge, journal = deployment.edge, deployment.journal
    try:
        if deployment.is_up:
            edge.routes()
        return ""
    except EdgeRejected as error:
        intended = [entry for entry in journal.entries() if entry.state == "routed"]
        if not intended:
            raise
        generation = journal.generation() + 1
        page = front_door.intended_page(deployment)
        routes = Routes(generation, intended[-1].data["weights"], maintenance=page)
        journal.append("", "note", "mended", str(error), generation=generation, weights=dict(routes.weights))
        edge.route(routes)
        edge.ensure()
        edge.await_generation(generation, deployment.profile.rollout.ack_timeout_s)
        return f"the route file was damaged; it names {routes.serving} again"


def _confirm(deployment: Deployment) -> CommandResult:
    """Keep the colour that the route file names, with all the traffic, remove the other one, and journal that."""
    deployment.edge.ensure()
    serving = deployment.serving
    if serving is None:
        name = deployment.profile.name
        raise DeployError(f"{name}: the colour that the routes name does not run; use `down`, then `deploy`")
    routes = deployment.edge.routes()
    if routes.reach(other(serving.colour)):  # it had a share, or the canary
        alone = replace(routes, generation=routes.generation + 1, weights={serving.colour: 100}, canary=None)
        deployment.edge.route(alone)
        deployment.edge.await_generation(alone.generation, deployment.profile.rollout.ack_timeout_s)
    removed = [instance for instance in deployment.instances if instance != serving]
    for instance in removed:
        deployment.engine.stop(instance, deployment.profile.rollout.stop_grace_s)
    deployment.edge.point(other(serving.colour), None)
    fact = f"the journal was damaged; {serving.name} serves, {len(removed)} other instances removed"
    deployment.journal.append("", "end", "confirmed", fact)
    return CommandResult("done", fact)
