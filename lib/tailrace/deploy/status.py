"""The status of a deployment: a frozen picture, JSON-able, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tailrace.deploy import front_door, health, reachability
from tailrace.deploy.edge import Counters, Routes
from tailrace.deploy.engines import Instance
from tailrace.deploy.journal import JournalEntry
from tailrace.errors import DeployError, EdgeRejected

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment


@dataclass(frozen=True)
class SlotStatus:
    """One colour: `live` and `ready` by its own paths, `healthy` by the edge's check, `weight` in percent."""

    colour: str
    release: str
    generation: int
    address: str
    handle: str
    alive: bool
    live: bool
    ready: bool
    healthy: bool
    weight: int
    in_flight: int
    restarts: int
    """How often its engine has started it again."""
    state: str
    """How it stands, in the words of its engine: "running", or how it ended last and when it starts again."""


@dataclass(frozen=True)
class Status:
    """`serving` is the colour that the routes name, that runs, and that answers; empty when none does."""

    name: str
    engine: str
    url: str
    edge_alive: bool
    serving: str
    answer: str
    """What a question at the doors got just now, or why it got nothing; empty when it is not up."""
    generation: int
    slots: tuple[SlotStatus, ...]
    busy: bool
    unfinished: str
    """State from which an interrupted rollout would be resumed; empty when there is none."""
    paused: bool
    """Whether requests are held; during `maintenance` they are answered with its page instead."""
    maintenance: bool
    since: str
    """Since when it is paused or in maintenance, by the wall clock; empty when it is neither."""
    canary: str
    """Whose requests go to which colour whatever the weights are; empty when nobody's do."""
    requests: int
    failed: int
    refused: Mapping[str, int]
    """Requests of users since the edge began to count, those that failed, and those that the edge itself failed."""
    last: str
    """The last rollout in one line."""
    under_way: str
    """The command that holds the lock, and how far it is; empty when none does."""
    damaged: str
    """What is wrong with the edge's files or the journal, and what to do; empty when all are whole."""
    drift: tuple[str, ...] = ()
    """What of the profile's edge settings does not hold at the edge; `deploy` applies it."""

    def slot(self, colour: str) -> SlotStatus | None:
        return next((slot for slot in self.slots if slot.colour == colour), None)

    def document(self) -> dict[str, Any]:
        return asdict(self)


def read(deployment: Deployment) -> Status:
    """Return the status of `deployment` from its files, its instances and its edge; a damaged file raises nothing."""
    routes, damaged = _routes(deployment)
    entries, unreadable = _entries(deployment)
    edge_alive = deployment.is_up and deployment.edge.server.alive()
    counters = _counters(deployment) if edge_alive else None
    slots = tuple(_slot(deployment, instance, routes, counters) for instance in deployment.instances)
    reached = reachability.ask(deployment.edge, bool(routes.hold_s)) if routes else None
    runs = {slot.colour for slot in slots if slot.alive}
    left = [] if unreadable or deployment.in_progress else deployment.journal.unfinished()
    ends = [entry for entry in entries if entry.kind == "end"]
    return Status(
        name=deployment.profile.name,
        engine=deployment.profile.engine,
        url=deployment.url if deployment.is_up else "",
        edge_alive=edge_alive,
        serving=routes.serving if routes and reached and reached.ok and routes.serving in runs else "",
        answer=reached.fact if reached else "",
        generation=routes.generation if routes else 0,
        slots=slots,
        busy=bool(deployment.in_progress),
        unfinished=left[-1].state if left else "",
        paused=bool(routes and routes.hold_s),
        maintenance=bool(routes and routes.maintenance),
        canary=str(routes.canary) if routes and routes.canary else "",
        since=_since(routes, entries),
        requests=counters.requests if counters else 0,
        failed=counters.failed if counters else 0,
        refused=counters.refused if counters else {},
        last=f"{ends[-1].at} {ends[-1].state}: {ends[-1].fact}" if ends else "",
        under_way=_under_way(deployment, entries),
        damaged=damaged or unreadable,
        drift=() if damaged or not deployment.is_up else tuple(deployment.edge.drift()),
    )


def _slot(deployment: Deployment, instance: Instance, routes: Routes | None, counters: Counters | None) -> SlotStatus:
    colour, alive = instance.colour, deployment.engine.alive(instance)
    asked = deployment.releases.acceptance(instance.release)
    target = health.Target.of(instance, asked, deployment.edge)
    return SlotStatus(
        colour, instance.release, instance.generation, str(instance.address), instance.handle, alive,
        live=alive and target.check(asked.health.live).ok,
        ready=alive and target.check(asked.health.ready).ok,
        healthy=counters is not None and deployment.edge.healthy(colour, instance.address),
        weight=routes.weights.get(colour, 0) if routes else 0,
        in_flight=counters.colours[colour].active if counters else 0,
        restarts=deployment.engine.restarts(instance),
        state=deployment.engine.state(instance),
    )  # fmt: skip


def _routes(deployment: Deployment) -> tuple[Routes | None, str]:
    try:
        return (deployment.edge.routes(), deployment.edge.configuration.damage()) if deployment.is_up else (None, "")
    except EdgeRejected as error:
        return None, str(error)


def _since(routes: Routes | None, entries: list[JournalEntry]) -> str:
    if routes and (routes.maintenance or routes.hold_s):
        return front_door.since(entries, front_door.CLOSED if routes.maintenance else front_door.PAUSED)
    return ""


def _entries(deployment: Deployment) -> tuple[list[JournalEntry], str]:
    try:
        return deployment.journal.entries(), ""
    except DeployError as error:
        return [], str(error)


def _counters(deployment: Deployment) -> Counters | None:
    """Return the counters; None when the edge does not answer, as just after its start."""
    try:
        return deployment.edge.counters()
    except EdgeRejected:
        return None


def _under_way(deployment: Deployment, entries: list[JournalEntry]) -> str:
    if not (command := deployment.in_progress):
        return ""
    of_rollouts = [entry for entry in entries if entry.kind != "note"]
    unfinished = of_rollouts and of_rollouts[-1].kind != "end"
    return f"{command}, at {of_rollouts[-1].state}" if unfinished else command
