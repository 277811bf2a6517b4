"""Envoy in a container: its directory is mounted, so that it sees renames; its ports are published on the host."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker.types

from tailrace.deploy.edge import layout as edge_layout
from tailrace.deploy.edge.layout import Layout
from tailrace.deploy.engines.docker import network
from tailrace.deploy.images import dockerd, image
from tailrace.host import files

EDGE = 2
"""Its number in the network."""
IMAGE_USER = 65532
"""Who it runs as by its image."""


@dataclass(frozen=True)
class EdgeContainer:
    """Runs an edge on the files in `folder`; `scope` names its network, and itself."""

    client: Callable[[], Any]
    folder: Path
    layout: Layout
    scope: str
    labels: Mapping[str, str]
    source: Path
    home: Path

    @property
    def name(self) -> str:
        return f"tailrace-{self.scope}-edge"

    def alive(self) -> bool:
        container = self._container()
        return container is not None and container.status == "running"

    def start(self) -> None:
        """Start it; it listens a moment later, and again after it has died."""
        self.stop()
        client = self.client()
        built = image.edge(client, self.source, self.home)
        doors = [
            self.layout.ingress,
            self.layout.probe,
            self.layout.preview_blue,
            self.layout.preview_green,
            *([self.layout.metrics] if self.layout.metrics else []),
        ]
        host = network.address(client, self.scope, EDGE)
        place = {network.name(self.scope): client.api.create_endpoint_config(ipv4_address=host)}
        with dockerd.translated(self.name):
            client.containers.run(
                built.id, detach=True, name=self.name, read_only=True, cap_drop=["ALL"],
                security_opt=["no-new-privileges"], restart_policy={"Name": "unless-stopped"}, pids_limit=64,
                mem_limit="256m", volumes={str(self.folder): {"bind": "/edge", "mode": "ro"}, **self._certificate(),
                                           str(self._sockets()): {"bind": "/sockets", "mode": "rw"}},
                user=":".join(map(str, self._user())), working_dir="/sockets",
                labels=dict(self.labels),
                log_config=docker.types.LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
                ports={f"{door.port}/tcp": (door.host, door.port) for door in doors},
                network=network.name(self.scope), networking_config=place,
            )  # fmt: skip

    def share(self) -> None:
        """Have the group that Envoy runs with read the files: root made them, and the folder above keeps all out."""
        if os.geteuid() != 0:
            return
        group = self._user()[1]
        for path in (self.folder, *self.folder.iterdir()):
            if path.stat().st_gid != group:
                os.chown(path, -1, group)
            path.chmod(files.SHARED_FOLDER if path.is_dir() else files.SHARED_FILE)

    def stop(self) -> str:
        container = self._container()
        if container is None:
            return "gone"
        dockerd.remove(container)
        return "terminated"

    def replace(self) -> None:
        """Put a new container in the place of this one; until that listens, nothing does."""
        image.edge(self.client(), self.source, self.home)  # may take a minute, while the old one still serves
        self.start()

    def log(self) -> str:
        container = self._container()
        return dockerd.log(container, 15) if container else ""

    def _certificate(self) -> dict[str, dict[str, str]]:
        """Return the folders of certificate and key, mounted under their own names: Envoy watches them for renewals.

        Where the files are links, as in certbot's `live/`, those that they lead to are mounted, too.
        """
        tls = self.layout.settings.tls
        paths = [Path(tls.certificate), Path(tls.key)] if tls else []
        folders = {str(folder) for path in paths for folder in (path.parent, path.resolve().parent)}
        return {folder: {"bind": folder, "mode": "ro"} for folder in sorted(folders)}

    def _sockets(self) -> Path:
        """Return the folder of its sockets, which only Envoy and root may enter: no instance has it."""
        folder = edge_layout.sockets(self.folder)
        if os.geteuid() == 0:
            os.chown(folder, *self._user())
        return folder

    def _user(self) -> tuple[int, int]:
        """Return who Envoy runs as, with the group: whoever reaches its sockets, and may read its key.

        That is the user who runs tailrace; for root the owner of the key, or the image's own user.
        """
        tls = self.layout.settings.tls
        key = Path(tls.key).stat() if tls else None
        if (own := os.geteuid()) != 0:
            return own, key.st_gid if key else os.getegid()
        return (key.st_uid, key.st_gid) if key else (IMAGE_USER, IMAGE_USER)

    def _container(self) -> Any:
        return dockerd.find(self.client(), self.name)
