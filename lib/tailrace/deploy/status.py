"""How a deployment stands: a frozen picture, JSON-able, for people and for scripts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tailrace.deploy import health
from tailrace.deploy.edge import Counters, Routes
from tailrace.deploy.engines import Instance
from tailrace.deploy.journal import Event
from tailrace.deploy.site import Site
from tailrace.errors import DeployError, EdgeRejected


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
    under_way: str
    """What holds the lock, and how far it is; empty when nothing does."""
    damaged: str
    """What is wrong with the route file or the journal, and what to do; empty when nothing is."""

    def slot(self, colour: str) -> SlotStatus | None:
        return next((slot for slot in self.slots if slot.colour == colour), None)

    def document(self) -> dict[str, Any]:
        return asdict(self)


def take(site: Site) -> Status:
    """Return how `site` stands, by asking its files, its instances and its edge; a damaged file is told, not raised."""
    routes, damaged = _routes(site)
    events, unreadable = _events(site)
    running = site.stands and site.edge.runs.alive()
    counted = _counters(site) if running else None
    slots = tuple(_slot(site, instance, routes, counted) for instance in site.instances)
    serving = routes.serving if routes and any(s.colour == routes.serving and s.alive for s in slots) else ""
    left = [] if unreadable or site.busy else site.record.unfinished()
    ends = [event for event in events if event.kind == "end"]
    return Status(
        site.profile.name, site.profile.engine, site.edge.url if site.stands else "", running, serving,
        routes.generation if routes else 0, slots, site.busy, left[-1].state if left else "",
        bool(routes and routes.hold_s), f"{ends[-1].at} {ends[-1].state}: {ends[-1].fact}" if ends else "",
        _under_way(site, events), damaged or unreadable,
    )  # fmt: skip


def _slot(site: Site, instance: Instance, routes: Routes | None, counted: Counters | None) -> SlotStatus:
    colour, alive, paths = instance.colour, site.engine.alive(instance), site.profile.service.health
    return SlotStatus(
        colour, instance.release, instance.generation, str(instance.address), instance.handle, alive,
        live=alive and health.probe(instance.url, paths.live).ok,
        ready=alive and health.probe(instance.url, paths.ready).ok,
        healthy=counted is not None and site.edge.healthy(colour, instance.address),
        weight=routes.weights.get(colour, 0) if routes else 0,
        in_flight=counted.colours[colour].active if counted else 0,
    )  # fmt: skip


def _routes(site: Site) -> tuple[Routes | None, str]:
    try:
        return site.edge.routes() if site.stands else None, ""
    except EdgeRejected as error:
        return None, str(error)


def _events(site: Site) -> tuple[list[Event], str]:
    try:
        return site.journal, ""
    except DeployError as error:
        return [], str(error)


def _counters(site: Site) -> Counters | None:
    """An edge that has just been started does not answer yet."""
    try:
        return site.edge.counters()
    except EdgeRejected:
        return None


def _under_way(site: Site, events: list[Event]) -> str:
    if not (doing := site.under_way):
        return ""
    begun = [event for event in events if event.kind != "note"]
    return f"{doing}, at {begun[-1].state}" if begun and begun[-1].kind != "end" else doing
