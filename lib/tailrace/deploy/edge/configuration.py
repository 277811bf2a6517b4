"""The files from which Envoy takes its configuration, but for the routes: written whole, and only where they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tailrace.deploy.edge import bootstrap, clusters, envoy, listeners, tls
from tailrace.deploy.edge.clusters import Upstream, UpstreamSettings
from tailrace.deploy.edge.layout import Layout
from tailrace.deploy.edge.route_file import COLOURS
from tailrace.errors import EdgeRejected
from tailrace.host import files

NAMES = ("listeners", "clusters", *COLOURS)
"""The files that Envoy watches, beside that of the routes."""


@dataclass(frozen=True)
class Configuration:
    """The files in `folder`, as `layout` says."""

    folder: Path
    layout: Layout
    fault: Callable[[str], None] = files.nothing

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.yaml"

    def upstreams(self) -> dict[str, UpstreamSettings]:
        """Return the settings of the release in each slot; raises EdgeRejected when the file of clusters is damaged."""
        return clusters.read(self.path("clusters"))

    def version(self, name: str) -> str:
        """Return the version of a file; raises EdgeRejected when it is damaged."""
        return str(envoy.read(self.path(name))["version_info"])

    def damage(self) -> str:
        """Return what is wrong with the first damaged file; "" when all that are there are whole."""
        for name in NAMES:
            try:
                if self.path(name).exists():
                    envoy.read(self.path(name))
            except EdgeRejected as error:
                return str(error)
        return ""

    def is_current(self) -> bool:
        """Return whether the files are what this version of tailrace writes for these settings."""
        if not self.path("listeners").exists():
            return False
        text = self.path("clusters").read_text(encoding="utf-8")
        is_same = text == clusters.document(self.upstreams(), self.layout)
        return is_same and self.path("listeners").read_text(encoding="utf-8") == listeners.document(self.layout)

    def write(self) -> None:
        """Write all that an edge needs to start. What says where instances are stays; raises EdgeRejected at damage."""
        files.write(self.path("bootstrap"), bootstrap.document(self.layout))
        self.write_listeners()
        known = self.upstreams() if self.path("clusters").exists() else {}
        self.write_clusters({colour: known.get(colour, UpstreamSettings()) for colour in COLOURS})
        for colour in COLOURS:
            if self.path(colour).exists():
                envoy.read(self.path(colour))
            else:
                self.write_endpoint(colour, None)

    def rewrite(self, upstreams: Mapping[str, Upstream]) -> None:
        """Write every file anew, whatever is there; `upstreams` are the instances that run, by colour."""
        known = {colour: upstream.settings for colour, upstream in upstreams.items()}
        self.write_clusters({colour: known.get(colour, UpstreamSettings()) for colour in COLOURS})
        for colour in COLOURS:
            self.write_endpoint(colour, upstreams.get(colour))
        self.write()

    def write_clusters(self, settings: Mapping[str, UpstreamSettings]) -> None:
        """Write how the release in each slot is spoken to: Envoy leaves alone the clusters that stay the same."""
        self._replace("clusters", clusters.document(settings, self.layout))

    def write_listeners(self, former: Layout | None = None) -> None:
        """Write the doors; the front door of `former` stays open beside the one of the layout."""
        if self.layout.settings.tls:  # in this order: a listener waits for its certificate
            self._replace(tls.SECRET, tls.secret(self.layout.settings.tls))
        self._replace("listeners", listeners.document(self.layout, former))

    def write_endpoint(self, colour: str, upstream: Upstream | None, held: bool = False) -> None:
        """Write where the instance of `colour` is."""
        files.write(self.path(colour), clusters.endpoints(colour, upstream, held), self.fault)

    def _replace(self, name: str, content: str) -> None:
        path = self.path(name)
        if not path.exists() or path.read_bytes() != content.encode():
            files.write(path, content, self.fault)
