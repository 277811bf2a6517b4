"""The edge of one deployment: configured through files, observed through its counters and through probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from tailrace import profile
from tailrace.deploy.edge import counters, route_file, tls
from tailrace.deploy.edge import layout as edge_layout
from tailrace.deploy.edge import settings as edge_settings
from tailrace.deploy.edge.clusters import Upstream
from tailrace.deploy.edge.configuration import Configuration
from tailrace.deploy.edge.layout import Address, Layout
from tailrace.deploy.edge.maintenance import Maintenance
from tailrace.deploy.edge.route_file import Routes
from tailrace.errors import EdgeRejected, MachineRefused, StartFailed
from tailrace.headers import COLOUR, GENERATION
from tailrace.host import files, ports, waiting
from tailrace.host.http import FAILURES, Answer, exchange

START_TIMEOUT_S = 30.0  # on a machine that is busy with something else


class EdgeServer(Protocol):
    """An Envoy that runs somewhere: as a process, or in a container."""

    def alive(self) -> bool: ...
    def start(self) -> None: ...
    def stop(self) -> str: ...
    def replace(self) -> None: ...
    def log(self) -> str: ...


@dataclass(frozen=True)
class Edge:
    """Envoy in front of the two slots; everything that it needs after a restart is in `folder`."""

    folder: Path
    server: EdgeServer
    layout: Layout
    settings: profile.EdgeSettings = field(default_factory=profile.EdgeSettings)
    """Those of the profile; `layout` has those by which the edge goes."""
    fault: Callable[[str], None] = files.nothing

    @property
    def configuration(self) -> Configuration:
        """The files that it was started on and watches."""
        return Configuration(self.folder, self.layout, self.fault)

    @property
    def intended(self) -> Layout:
        """The layout as the profile has it."""
        return replace(self.layout.changed(self.settings), admin=edge_layout.admin(self.folder))

    @property
    def url(self) -> str:
        front, settings = self.layout.ingress, self.layout.settings.tls
        host = (settings and settings.name) or front.reached
        return f"{'https' if settings else 'http'}://{f'[{host}]' if ':' in host else host}:{front.port}"

    def ensure(self) -> bool:
        """Start it on its files unless it runs; return whether it was started. Raises StartFailed, EdgeRejected.

        The files are checked first: Envoy answers 404 to everything when it starts on damaged ones.
        """
        self.routes()
        if self.server.alive():
            return False
        self.server.stop()  # an edge that died may have left something, such as its ports
        self.configuration.write()
        if not self.layout.bind and not ports.is_free(self.layout.ingress.host, self.layout.ingress.port):
            raise StartFailed(
                f"edge: {self.layout.ingress} is taken by another program; see `ss -ltnp`, or set edge.port"
            )
        self.server.start()
        if (
            not waiting.until(lambda: self._listens() or not self.server.alive(), START_TIMEOUT_S)
            or not self.server.alive()
        ):
            log = self.server.log()
            self.server.stop()
            raise StartFailed(f"edge did not answer at {self.layout.probe} within {START_TIMEOUT_S} s; its log:\n{log}")
        return True

    def _listens(self) -> bool:
        """Return whether the probe answers, and the front door serves its certificate where it has one."""
        settings = self.layout.settings.tls
        return bool(self.probe()) and (not settings or tls.served(self.layout.ingress, settings))

    def drift(self) -> list[str]:
        """Return what of the profile's edge settings does not hold here, one fact for each; `deploy` applies it."""
        return edge_settings.drift(self)

    def changes(self) -> list[str]:
        """Return what `apply` changes, for those who read that it was done."""
        return edge_settings.changes(self)

    def apply(self) -> Edge:
        """Bring the running edge to the profile's settings, and return it as it is then; see `settings.apply`."""
        return edge_settings.apply(self)

    def adopt(self) -> None:
        """Have the next start go by the profile's settings: for an edge that does not run."""
        edge_layout.save(self.intended, self.folder.parent / edge_layout.NAME)

    def close_former(self, former: Address, timeout_s: float) -> str:
        """Close a former front door once nobody uses it, at the latest after `timeout_s`; return how that went."""
        return edge_settings.close_former(self, former, timeout_s)

    def replace(self, timeout_s: float) -> str:
        """Put a new edge, with a new bootstrap, in the place of the old one without losing a request.

        Returns how that went; raises EdgeRejected. The new one counts from zero.
        """
        self.configuration.write()
        before = counters.epoch(self.layout.admin.url)
        self.server.replace()
        if not waiting.until(lambda: self._epoch() > before, timeout_s, every_s=0.02):
            raise EdgeRejected(
                f"no new edge took over within {timeout_s} s; the old one serves on. {self.server.log()}"
            )
        return f"process number {self._epoch()} took over"

    def replace_cold(self) -> str:
        """Do the same where the sockets cannot be handed over: what is in flight is cut."""
        self.routes()  # on a damaged file the new one would answer 404 to everything
        self.configuration.write()
        self.server.replace()
        if not waiting.until(self.probe, START_TIMEOUT_S):
            raise EdgeRejected(
                f"the new edge does not answer after {START_TIMEOUT_S} s; use `deploy`. Its log:\n{self.server.log()}"
            )
        return "a new edge took its place; what was in flight was cut"

    def routes(self) -> Routes:
        """Return the routes in the route file; raises EdgeRejected when it is damaged."""
        return route_file.read(self.folder / "routes.yaml")

    def route(self, routes: Routes) -> int:
        """Write the route file, and return when it was renamed into place, in ns.

        That rename is the switch, and it also decides what a restarted edge does. Raises MachineRefused.
        """
        try:
            return files.write(self.folder / "routes.yaml", route_file.document(routes), self.fault)
        except OSError as error:
            raise MachineRefused(
                f"the route file could not be written ({error}), so traffic is where it was; "
                "make room, then call it again"
            ) from error

    def point(self, colour: str, upstream: Upstream | None, held: bool = False) -> None:
        """Set where the instance of `colour` listens and how it is checked; None removes it. Raises EdgeRejected.

        The clusters come before the endpoint: an instance is never found healthy by the checks of another release.
        """
        if upstream is not None:
            self.configuration.write_clusters({**self.configuration.upstreams(), colour: upstream.settings})
            edge_settings.await_taken(self, "clusters")
        self.configuration.write_endpoint(colour, upstream, held)

    def pause(self, generation: int, upstream: Upstream, hold_s: float, timeout_s: float) -> None:
        """Hold new requests for `upstream`, each for up to `hold_s`; after that it gets a 503.

        The colour that serves gets an endpoint that refuses connections in place of its own, and the route retries
        until its own is back. Only requests that never reached an instance are retried, as always.
        """
        current = self.routes()
        self.route(replace(current, generation=generation, hold_s=hold_s))
        self.await_generation(generation, timeout_s)
        self._hold(current.serving, upstream, True, timeout_s)

    def unpause(self, generation: int, upstream: Upstream, timeout_s: float) -> None:
        """Let every request that is held go on to `upstream`."""
        current = self.routes()
        # In this order: a new request would find an address that refuses it, and no retries.
        self._hold(current.serving, upstream, False, timeout_s)
        self.route(replace(current, generation=generation, hold_s=0.0))
        self.await_generation(generation, timeout_s)

    def maintain(self, generation: int, page: Maintenance | None, timeout_s: float) -> None:
        """Answer everybody with `page` from now on, or with None let the colours answer again."""
        self.route(replace(self.routes(), generation=generation, maintenance=page))
        self.await_generation(generation, timeout_s)

    def _hold(self, colour: str, upstream: Upstream, held: bool, timeout_s: float) -> None:
        """Write the endpoint of `colour`, and wait until the edge goes by it; raises EdgeRejected."""
        self.point(colour, upstream, held)
        admin, address = self.layout.admin.url, upstream.address
        if not waiting.until(lambda: counters.held(admin, colour, address.port) is held, timeout_s, every_s=0.005):
            raise EdgeRejected(f"the edge did not take the endpoint of {colour} within {timeout_s} s; try again")

    def await_generation(self, generation: int, timeout_s: float, health: profile.Health | None = None) -> Answer:
        """Return the first answer that was routed by `generation`: the acknowledgement. Raises EdgeRejected.

        The probe has the routes of the front door but a door of its own, so that it is counted separately. It asks as
        `health` says, by default as the serving colour's release does.
        """
        health = health or self.serving_health()

        last: Answer | None = None

        def acknowledged() -> Answer | None:
            nonlocal last
            last = self.probe(health)
            return last if last and last.headers.get(GENERATION) == str(generation) else None

        if answer := waiting.until(acknowledged, timeout_s, every_s=0.002):
            return answer
        observed = f"still answers with generation {last.headers.get(GENERATION)}" if last else "does not answer"
        reason = counters.rejection(self.layout.admin.url) if last else self.server.log()
        raise EdgeRejected(
            f"edge did not acknowledge generation {generation} within {timeout_s} s: it {observed}; {reason}"
        )

    def wait_for_colour(self, colour: str, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Wait until `colour` answers through the routes; return whether it did: a new edge has to find it healthy."""
        return bool(waiting.until(lambda: (a := self.probe()) and a.headers.get(COLOUR) == colour, timeout_s))

    def probe(self, health: profile.Health | None = None) -> Answer | None:
        """Request the live path through the routes; None when the edge does not answer."""
        health = health or self.serving_health()
        try:
            return exchange(self.layout.probe.url + health.live, headers=health.headers, timeout_s=2.5)
        except FAILURES:
            return None

    def serving_health(self) -> profile.Health:
        """Return the health checks of the release in the slot that serves; raises EdgeRejected at a damaged file."""
        return self.configuration.upstreams()[self.routes().serving].health

    def _epoch(self) -> int:
        try:
            return counters.epoch(self.layout.admin.url)
        except EdgeRejected:
            return -1

    def healthy(self, colour: str, address: Address) -> bool:
        return counters.healthy(self.layout.admin.url, colour, address.port)

    def counters(self) -> counters.Counters:
        return counters.read(self.layout.admin.url)

    def preview_url(self, colour: str) -> str:
        return self.layout.preview(colour).url
