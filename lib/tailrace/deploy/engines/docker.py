"""The docker engine: instances are hardened containers on a network of their own, published on loopback only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import docker.errors
import docker.types

from tailrace.deploy import dockerd, image, network
from tailrace.deploy.edge import Address, Edge, layout
from tailrace.deploy.edge.container import EdgeContainer
from tailrace.deploy.engines import Instance, Slot, environment, labels
from tailrace.deploy.hardening import HARDENED
from tailrace.deploy.release import Release
from tailrace.profile import Limits, Profile, Service

PREFIX = "io.tailrace."
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class DockerEngine:
    """Drives the engine that the environment names; keeps wheels and archives in `<home>/images`."""

    home: Path
    limits: Limits = field(default_factory=Limits)
    source: Path | None = None
    """The project whose Dockerfile makes the edge; None: the folder above `home`."""

    @cached_property
    def client(self) -> Any:
        return dockerd.connect()

    def build(self, service: Service, source: Path, tell: Callable[[str], None] | None = None) -> Release:
        """Return the release of `service` as an image; raises BuildFailed, PartMissing."""
        return image.release(self.client, service, source.resolve(), self.home, tell)

    def start(self, release: Release, slot: Slot) -> Instance:
        """Run the image of `release` in `slot`; raises StartFailed, PartMissing."""
        port = int(release.facts["port"])
        address = network.address(self.client, slot.deployment, 10 + slot.generation % 240)
        known = {"{host}": "0.0.0.0", "{port}": str(port)}  # noqa: S104 (inside the container's own network)
        command = [known.get(part, part) for part in release.command]
        return self._run(slot, release, command, Address(address, port), labels(release, slot))

    def beside(self, release: Release, slot: Slot, command: list[str], port: int) -> Instance:
        """Run another program of the same image next to the instances, as a provider; `down` ends it, too."""
        address = network.address(self.client, slot.deployment, 250)
        marked = {**labels(release, slot), "part": "beside"}
        return self._run(slot, release, command, Address(address, port), marked, entrypoint="")

    def stop(self, instance: Instance, grace_s: float) -> str:
        """SIGTERM, SIGKILL after `grace_s`, and remove; returns gone, terminated or killed."""
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

    def kill(self, instance: Instance) -> None:
        self._do(instance, "kill")

    def freeze(self, instance: Instance) -> None:
        self._do(instance, "pause")

    def thaw(self, instance: Instance) -> None:
        self._do(instance, "unpause")

    def alive(self, instance: Instance) -> bool:
        """Return whether it runs; raises PartMissing when that cannot be known, because the engine is going down."""
        status = self._status(instance)
        if status not in ("running", "paused", "restarting"):
            # An engine that ends goes on telling those who are connected that all containers have ended: it will
            # start them again. It takes no new connection, though.
            dockerd.connect().close()
            status = self._status(instance)
        return status in ("running", "paused")

    def log(self, instance: Instance, lines: int = 15) -> str:
        container = self._container(instance)
        return dockerd.log(container, lines) if container else ""

    def instances(self, deployment: str) -> list[Instance]:
        """Return the containers that carry the labels of `deployment`, running or not."""
        return [_instance(c) for c in self._labelled(deployment, "instance")]

    def edge(self, profile: Profile, folder: Path) -> Edge:
        files = folder / "edge"
        files.mkdir(parents=True, exist_ok=True)
        outside = layout(profile, files, folder / "layout.json")
        inside = replace(outside, folder="/edge", bind="0.0.0.0")  # noqa: S104 (published on loopback only)
        source = self.source or self.home.parent
        return Edge(files, EdgeContainer(lambda: self.client, files, inside, profile.name, source, self.home), inside)

    def sweep(self, deployment: str) -> list[str]:
        """Remove what belongs to `deployment` and is no instance, and the network once it is empty."""
        removed = []
        for container in self._labelled(deployment, "beside"):
            dockerd.remove(container)
            removed.append(container.name)
        if not self._labelled(deployment):
            network.remove(self.client, deployment)
        return removed

    def _run(
        self,
        slot: Slot,
        release: Release,
        command: list[str],
        address: Address,
        marked: dict[str, str],
        **more: Any,
    ) -> Instance:
        name = f"tailrace-{slot.deployment}-{slot.name if marked['part'] == 'instance' else marked['part']}"
        place = {network.name(slot.deployment): self.client.api.create_endpoint_config(ipv4_address=address.host)}
        with dockerd.translated(name):
            container = self.client.containers.create(
                release.build, command or None, name=name, environment=environment(release, slot),
                labels={PREFIX + key: value for key, value in {**marked, "port": str(address.port)}.items()},
                network=network.name(slot.deployment), networking_config=place,
                ports={f"{address.port}/tcp": (LOOPBACK, None)}, **self._hardened(), **more,
            )  # fmt: skip
            try:
                container.start()
            except docker.errors.APIError:
                container.remove(force=True)
                raise
            container.reload()
        return _instance(container)

    def _hardened(self) -> dict[str, Any]:
        """What every container of ours is run with."""
        return {
            **HARDENED,
            "mem_limit": f"{self.limits.memory_mb}m",
            "nano_cpus": round(self.limits.cpus * 1e9),
            "pids_limit": self.limits.pids,
            "log_config": docker.types.LogConfig(type="json-file", config={"max-size": "10m", "max-file": "3"}),
            # Back after a restart of the engine, at the address that the edge knows.
            "restart_policy": {"Name": "unless-stopped"},
            "init": True,
        }

    def _labelled(self, deployment: str, part: str = "") -> list[Any]:
        wanted = [f"{PREFIX}deployment={deployment}"] + ([f"{PREFIX}part={part}"] if part else [])
        with dockerd.translated(deployment):
            found: list[Any] = self.client.containers.list(all=True, filters={"label": wanted}, ignore_removed=True)
        return found

    def _status(self, instance: Instance) -> str:
        container = self._container(instance)
        return str(container.status) if container else ""

    def _container(self, instance: Instance) -> Any:
        return dockerd.find(self.client, instance.handle, instance.name)

    def _do(self, instance: Instance, act: str) -> None:
        container = self._container(instance)
        if container is not None:
            with dockerd.translated(instance.name):
                getattr(container, act)()


def _instance(container: Any) -> Instance:
    told = {key.removeprefix(PREFIX): value for key, value in container.labels.items()}
    settings = container.attrs["NetworkSettings"]
    place = next(iter(settings["Networks"].values()))
    port = int(told["port"])
    published = (settings.get("Ports") or {}).get(f"{port}/tcp") or [{"HostPort": "0"}]
    host = place["IPAddress"] or (place.get("IPAMConfig") or {}).get("IPv4Address", "")
    return Instance(
        told["deployment"], f"{told['colour']}-{told['generation']}", told["colour"], told["release"],
        int(told["generation"]), Address(host, port), container.id,
        Address(LOOPBACK, int(published[0]["HostPort"])),
    )  # fmt: skip
