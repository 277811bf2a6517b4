"""How a deployment stands: a frozen picture, JSON-able, for people and for scripts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tailrace.deploy import health

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


@dataclass(frozen=True)
class Status:
    """`serving` is the colour that the routes name and that runs; empty when none does."""

    name: str
    engine: str
    url: str
    edge_alive: bool
    serving: str
    generation: int
    slots: tuple[SlotStatus, ...]
    busy: bool
    unfinished: str
    """State from which an interrupted transition would be resumed; empty when there is none."""
    paused: bool
    last: str
    """The last transition in one line."""

    def slot(self, colour: str) -> SlotStatus | None:
        return next((slot for slot in self.slots if slot.colour == colour), None)

    def document(self) -> dict[str, Any]:
        return asdict(self)


def take(deployment: Deployment) -> Status:
    """Return how `deployment` stands, by asking its files, its instances and its edge."""
    edge, engine = deployment.edge, deployment.engine
    routes = edge.routes() if deployment.stands else None
    running = routes is not None and edge.runs.alive()
    counted = edge.counters() if running else None
    slots = []
    for instance in deployment.instances:
        colour, alive = instance.colour, engine.alive(instance)
        paths = deployment.profile.service.health
        slots.append(
            SlotStatus(
                colour,
                instance.release,
                instance.generation,
                str(instance.address),
                instance.handle,
                alive,
                live=alive and health.probe(instance.url, paths.live).ok,
                ready=alive and health.probe(instance.url, paths.ready).ok,
                healthy=running and edge.healthy(colour, instance.address),
                weight=routes.weights.get(colour, 0) if routes else 0,
                in_flight=counted.colours[colour].active if counted else 0,
            )
        )
    serving = deployment.serving
    return Status(
        deployment.profile.name, deployment.profile.engine, edge.url if routes else "", running,
        serving.colour if serving else "", routes.generation if routes else 0, tuple(slots), deployment.busy,
        _unfinished(deployment), bool(routes and routes.hold_s), _last(deployment),
    )  # fmt: skip


def _unfinished(deployment: Deployment) -> str:
    left = [] if deployment.busy else deployment.record.unfinished()
    return left[-1].state if left else ""


def _last(deployment: Deployment) -> str:
    events = [event for event in deployment.journal if event.kind == "end"]
    return f"{events[-1].at} {events[-1].state}: {events[-1].fact}" if events else ""
