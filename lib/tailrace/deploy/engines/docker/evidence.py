"""Evidence about images, from the Docker Engine that has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailrace.deploy.images import hardening, image, layers
from tailrace.deploy.images.confinement import limited
from tailrace.deploy.release import Release, filled
from tailrace.profile import ResourceLimits
from tailrace.verdict import Check

EVERYWHERE = "0.0.0.0"  # noqa: S104 (inside a container's own network; it is published on loopback only)


@dataclass(frozen=True)
class DockerImages:
    """Evidence about the images that `client` has; `source` and `home` are needed to build one again."""

    client: Any
    source: Path
    home: Path
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    """Those of an instance: what is run to prove something has the same."""

    def packages(self, release: Release) -> list[tuple[str, str, int]]:
        return layers.packages(self.client, release.build)

    def files(self, release: Release) -> list[str]:
        return layers.files(self.client, release.build)

    def layers(self, release: Release) -> list[tuple[str, int]]:
        return layers.parts(self.client, release.build)

    def rebuild(self, release: Release) -> tuple[str, str]:
        again = image.again(self.client, self.source, self.home)
        try:
            rebuilt, shipped = (hardening.content_digest(self.client, id) for id in (again, release.build))
        finally:
            self.client.images.remove(again, force=True)
        return rebuilt, shipped

    def checks(self, release: Release, environment: Mapping[str, str], budget_mb: float) -> list[Check]:
        command = filled(release.command, host=EVERYWHERE, port=str(release.facts["port"]))
        settings = {**release.environment, **environment}
        base = str(release.facts["base"])
        subject = hardening.Image(self.client, release.build, base, settings, command, budget_mb, limited(self.limits))
        return hardening.checks(subject)
