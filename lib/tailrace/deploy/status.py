"""How a deployment stands: a frozen picture, JSON-able, for people and for scripts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tailrace.deploy import health
from tailrace.deploy.site import Site


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


def take(site: Site) -> Status:
    """Return how `site` stands, by asking its files, its instances and its edge."""
    edge, engine = site.edge, site.engine
    routes = edge.routes() if site.stands else None
    running = routes is not None and edge.runs.alive()
    counted = edge.counters() if running else None
    slots = []
    for instance in site.instances:
        colour, alive = instance.colour, engine.alive(instance)
        paths = site.profile.service.health
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
    serving = site.serving
    return Status(
        site.profile.name, site.profile.engine, edge.url if routes else "", running,
        serving.colour if serving else "", routes.generation if routes else 0, tuple(slots), site.busy,
        _unfinished(site), bool(routes and routes.hold_s), _last(site),
    )  # fmt: skip


def _unfinished(site: Site) -> str:
    left = [] if site.busy else site.record.unfinished()
    return left[-1].state if left else ""


def _last(site: Site) -> str:
    events = [event for event in site.journal if event.kind == "end"]
    return f"{events[-1].at} {events[-1].state}: {events[-1].fact}" if events else ""
