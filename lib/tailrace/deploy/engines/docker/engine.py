"""The docker engine: instances are hardened containers on a network of their own, published on loopback only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import docker.errors
import docker.types

from tailrace.deploy.edge import Address, Edge, layout
from tailrace.deploy.engines import Capability, Instance, Slot, labels
from tailrace.deploy.engines.docker import LACKS, container_state, network, secret_volume
from tailrace.deploy.engines.docker.edge import EdgeContainer
from tailrace.deploy.engines.docker.evidence import EVERYWHERE, DockerImages
from tailrace.deploy.images import base_image, dockerd, image
from tailrace.deploy.images.confinement import HARDENED, limited
from tailrace.deploy.release import Release, filled
from tailrace.errors import StartFailed
from tailrace.host import files
from tailrace.profile import Profile, ResourceLimits, Service

PREFIX = "io.tailrace."
LOOPBACK = "127.0.0.1"
# Numbers in the network of a deployment: 1 is the gateway, 2 the edge.
FIRST, INSTANCES = 10, 240
BESIDE = range(250, 255)
HEALTH_NS = 10_000_000_000


@dataclass(frozen=True)
class DockerEngine:
    """Uses the Docker Engine that the environment names; keeps wheels and archives in `<home>/images`.

    Everything that it starts carries the mark of its home: two checkouts on one engine never touch each other's.
    """

    home: Path
    limits: ResourceLimits = field(default_factory=ResourceLimits)
    source: Path | None = None
    """The project whose Dockerfile makes the edge; None: the folder above `home`."""
    lacks: ClassVar[Mapping[Capability, str]] = LACKS

    @cached_property
    def client(self) -> Any:
        return dockerd.connect()

    @cached_property
    def mark(self) -> str:
        """A short digest of the home folder."""
        return hashlib.sha256(str(self.home.resolve()).encode()).hexdigest()[:8]

    def scope(self, deployment: str) -> str:
        """Return the name of `deployment` on this engine, where other homes may have one of the same name."""
        return f"{self.mark}-{deployment}"

    def preflight(self) -> None:
        """Raise PartMissing unless the engine answers, and has, or could get, an image to start from."""
        client = dockerd.connect()
        try:
            base_image.can_be_had(client, self.home / "images")
        finally:
            client.close()

    def build(self, service: Service, source: Path, on_progress: Callable[[str], None] | None = None) -> Release:
        """Return the release of `service` as an image, and build that of the edge; raises BuildFailed, PartMissing.

        `facts["edge"]` is the digest of the edge's image.
        """
        built = image.release(self.client, service, source.resolve(), self.home, on_progress)
        edge = image.edge(self.client, self._source, self.home, on_progress)
        return replace(built, facts={**built.facts, "edge": edge.id})

    def start(self, release: Release, slot: Slot) -> Instance:
        """Run the image of `release` in `slot`; raises StartFailed, PartMissing."""
        port = int(release.facts["port"])
        address = Address(self._address(slot.deployment, FIRST + slot.generation % INSTANCES), port)
        low = {"cpu_shares": container_state.share(slot.start_nice)}
        return self._run(slot.name, slot, release, release.command, address, labels(release, slot), **low)

    def run_beside(self, deployment: str, name: str, command: Sequence[str]) -> Instance:
        simulator = image.simulator(self.client, self._source, self.home)
        return self.beside(name, simulator, Slot(deployment, "", 0), filled(command, python="python"))

    def images(self) -> DockerImages:
        return DockerImages(self.client, self._source, self.home, self.limits)

    def beside(self, name: str, release: Release, slot: Slot, command: Sequence[str]) -> Instance:
        """Run `command` in the image of `release` next to the instances; as `run_beside` otherwise."""
        container = dockerd.find(self.client, self._name(slot.deployment, name))
        if container is not None and container.status == "running":
            return _instance(container)
        if container is not None:
            dockerd.remove(container)
        taken = {_instance(c).address.host for c in self._labelled(slot.deployment, "beside")}
        free = [a for a in (self._address(slot.deployment, n) for n in BESIDE) if a not in taken]
        if not free:
            raise StartFailed(f"{name}: {len(BESIDE)} programs run beside {slot.deployment} already; use `down`")
        address = Address(free[0], int(release.facts["port"]))
        marked = {**labels(release, slot), "part": "beside"}
        more = {"entrypoint": "", "healthcheck": {"test": ["NONE"]}}  # the image's own check is for another program
        return self._run(name, slot, release, command, address, marked, **more)

    def stop(self, instance: Instance, grace_s: float) -> str:
        """SIGTERM, SIGKILL after `grace_s`, and remove; return "gone", "terminated" or "killed"."""
        container = self._container(instance)
        if container is None:
            return "gone"
        with dockerd.translated(instance.name):
            if container.status == "paused":
                container.unpause()
            running = container.status in ("running", "paused")
            container.stop(timeout=max(1, round(grace_s)))
            container.reload()
            killed = container.attrs["State"]["ExitCode"] == 137
        dockerd.remove(container)
        return ("killed" if killed else "terminated") if running else "gone"

    def favour(self, instance: Instance) -> str:
        container = self._container(instance)
        return container_state.restore_share(container) if container else ""

    def kill(self, instance: Instance) -> None:
        self._do(instance, "kill")

    def freeze(self, instance: Instance) -> None:
        self._do(instance, "pause")

    def thaw(self, instance: Instance) -> None:
        self._do(instance, "unpause")

    def alive(self, instance: Instance) -> bool:
        """Return whether it runs; raises PartMissing when the Docker Engine is going down and cannot tell."""
        status = self._status(instance)
        if status not in ("running", "paused", "restarting"):
            # On a connection that it already has, an engine that shuts down reports every container as ended, although
            # it will start them again. It accepts no new connection, though.
            dockerd.connect().close()
            status = self._status(instance)
        return status in ("running", "paused")

    def died(self, instance: Instance) -> bool:
        """Return whether it has ended since its start: Docker may have restarted it by now."""
        return self.restarts(instance) > 0 or not self.alive(instance)

    def restarts(self, instance: Instance) -> int:
        container = self._container(instance)
        return int(container.attrs["RestartCount"]) if container else 0

    def restarts_itself(self, instance: Instance) -> bool:
        return True

    def state(self, instance: Instance) -> str:
        container = self._container(instance)
        return container_state.described(container.attrs) if container else "ended"

    def log(self, instance: Instance, lines: int = 15) -> str:
        container = self._container(instance)
        return dockerd.log(container, lines) if container else ""

    def listening(self, instance: Instance) -> list[str] | None:
        return None  # its sockets are in a network namespace of their own

    def log_path(self, deployment: str, name: str) -> str:
        return f"docker logs {self._name(deployment, name)}"

    def logs(self, deployment: str) -> list[str]:
        prefix = self._name(deployment, "")
        return sorted(container.name.removeprefix(prefix) for container in self._labelled(deployment))

    def output(self, deployment: str, name: str, lines: int, follow: bool) -> Iterator[bytes]:
        container = dockerd.find(self.client, self._name(deployment, name))
        if container is not None:
            with dockerd.translated(name):
                yield from container.logs(tail=lines, stream=True, follow=follow)

    def instances(self, deployment: str) -> list[Instance]:
        """Return the containers that carry the labels of `deployment`, running or not."""
        return [_instance(c) for c in self._labelled(deployment, "instance")]

    def edge(self, profile: Profile, folder: Path) -> Edge:
        place = files.make_folder(folder / "edge")
        outside = layout.read_or_choose(profile, place, folder / layout.NAME)
        inside = replace(outside, folder="/edge", bind=EVERYWHERE)
        scope, marked = self.scope(profile.name), self._marked({"deployment": profile.name, "part": "edge"})
        server = EdgeContainer(lambda: self.client, place, inside, scope, marked, self._source, self.home)
        server.share()
        return Edge(place, server, inside, profile.configured_edge)

    def sweep(self, deployment: str) -> list[str]:
        """Return nothing: a container has its labels from its creation, so none is unrecorded."""
        return []

    def clear(self, deployment: str) -> list[str]:
        """Remove everything of `deployment` that is not an instance, and its network once it is empty."""
        removed = []
        for container in [*self._labelled(deployment, "beside"), *self._labelled(deployment, "edge")]:
            dockerd.remove(container)
            removed.append(container.name)
        if not self._labelled(deployment):
            network.remove(self.client, self.scope(deployment))
        return removed

    @property
    def _source(self) -> Path:
        return self.source or self.home.parent

    def _run(
        self,
        part: str,
        slot: Slot,
        release: Release,
        command: Sequence[str],
        address: Address,
        marked: dict[str, str],
        **more: Any,
    ) -> Instance:
        scope, name = self.scope(slot.deployment), self._name(slot.deployment, part)
        place = {network.name(scope): self.client.api.create_endpoint_config(ipv4_address=address.host)}
        gateway = {"gateway": self._address(slot.deployment, network.GATEWAY)} if "{gateway}" in command else {}
        arguments = filled(command, host=EVERYWHERE, port=str(address.port), **gateway)
        with dockerd.translated(name):
            container = self.client.containers.create(
                release.build, arguments or None, name=name,
                labels=self._marked({**marked, "port": str(address.port)}),
                network=network.name(scope), networking_config=place,
                ports={f"{address.port}/tcp": (LOOPBACK, None)},
                **{**self._hardened(), **secret_volume.options(release, slot), **more},
            )  # fmt: skip
            try:
                secret_volume.fill(self.client, container, release, slot)
                container.start()
            except docker.errors.APIError:
                container.remove(force=True, v=True)
                raise
            container.reload()
        return _instance(container)

    def _hardened(self) -> dict[str, Any]:
        """Return the options with which every instance is run."""
        return {
            **HARDENED,
            **limited(self.limits),
            "log_config": docker.types.LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
            # A restart of the engine brings it back, at the address that the edge knows.
            "restart_policy": {"Name": "unless-stopped"},
            "init": True,
            # The image's own check, less often: it starts a program each time, and the edge has checks of its own.
            "healthcheck": {"interval": HEALTH_NS},
        }

    def _labelled(self, deployment: str, part: str = "") -> list[Any]:
        filters = [f"{PREFIX}home={self.mark}", f"{PREFIX}deployment={deployment}"]
        filters += [f"{PREFIX}part={part}"] if part else []
        with dockerd.translated(deployment):
            containers: list[Any] = self.client.containers.list(
                all=True, filters={"label": filters}, ignore_removed=True
            )
        return containers

    def _status(self, instance: Instance) -> str:
        container = self._container(instance)
        return str(container.status) if container else ""

    def _marked(self, labels: dict[str, str]) -> dict[str, str]:
        return {PREFIX + key: value for key, value in {**labels, "home": self.mark}.items()}

    def _name(self, deployment: str, part: str) -> str:
        return f"tailrace-{self.scope(deployment)}-{part}"

    def _address(self, deployment: str, number: int) -> str:
        return network.address(self.client, self.scope(deployment), number)

    def _container(self, instance: Instance) -> Any:
        return dockerd.find(self.client, instance.handle, instance.name)

    def _do(self, instance: Instance, act: str) -> None:
        container = self._container(instance)
        if container is not None:
            with dockerd.translated(instance.name):
                getattr(container, act)()


def _instance(container: Any) -> Instance:
    labels = {key.removeprefix(PREFIX): value for key, value in container.labels.items()}
    settings = container.attrs["NetworkSettings"]
    place = next(iter(settings["Networks"].values()))
    port = int(labels["port"])
    published = (settings.get("Ports") or {}).get(f"{port}/tcp") or [{"HostPort": "0"}]
    host = place["IPAddress"] or (place.get("IPAMConfig") or {}).get("IPv4Address", "")
    return Instance(
        labels["deployment"], f"{labels['colour']}-{labels['generation']}", labels["colour"], labels["release"],
        int(labels["generation"]), Address(host, port), container.id,
        Address(LOOPBACK, int(published[0]["HostPort"])),
    )  # fmt: skip
