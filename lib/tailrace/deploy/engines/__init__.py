"""Where instances run. An engine builds, starts and stops; what is switched, and when, is not its business."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tailrace.deploy.edge import Address, Edge
from tailrace.deploy.release import Release
from tailrace.profile import Profile, Service

__all__ = ["Engine", "Instance", "Slot", "environment", "labels"]


@dataclass(frozen=True)
class Slot:
    """The place of one instance in a deployment, and what it is told beside its release."""

    deployment: str
    colour: str
    generation: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Wiring of this place, as where the provider is: no part of the release."""
    secrets: Sequence[str] = ()
    """Names of variables of ours whose values are handed on, and never written down."""

    @property
    def name(self) -> str:
        return f"{self.colour}-{self.generation}"


@dataclass(frozen=True)
class Instance:
    """One started release; whether it still runs is the engine's to say."""

    deployment: str
    name: str
    colour: str
    release: str
    generation: int
    address: Address
    """Where the edge finds it."""
    handle: str
    """What the engine knows it by: a pid, a container's id."""
    published: Address | None = None
    """Where we find it, when that is elsewhere."""

    @property
    def url(self) -> str:
        return (self.published or self.address).url


class Engine(Protocol):
    """What a deployment asks of the place where its instances run."""

    def build(self, service: Service, source: Path, tell: Callable[[str], None] | None = None) -> Release: ...
    def start(self, release: Release, slot: Slot) -> Instance: ...
    def stop(self, instance: Instance, grace_s: float) -> str: ...
    def kill(self, instance: Instance) -> None: ...
    def freeze(self, instance: Instance) -> None: ...
    def thaw(self, instance: Instance) -> None: ...
    def alive(self, instance: Instance) -> bool: ...

    def died(self, instance: Instance) -> bool:
        """Return whether it has ended by itself since its start, also when the engine has started it again."""
        ...

    def log(self, instance: Instance, lines: int = 15) -> str: ...
    def instances(self, deployment: str) -> list[Instance]: ...
    def edge(self, profile: Profile, folder: Path) -> Edge: ...
    def sweep(self, deployment: str) -> list[str]:
        """End what was started and is on no record, because its starter was killed right then; return it."""

    def clear(self, deployment: str) -> list[str]:
        """Remove, at the very end, all that stands beside the instances; return it."""


def environment(release: Release, slot: Slot) -> dict[str, str]:
    """Return the settings of an instance: those of its release, then its wiring, then who it is, then its secrets."""
    told = {**release.environment, **slot.environment}
    if release.ours:
        told |= {
            "TAILRACE_RELEASE": release.id,
            "TAILRACE_COLOUR": slot.colour,
            "TAILRACE_GENERATION": str(slot.generation),
        }
    return told | {name: os.environ[name] for name in slot.secrets if name in os.environ}


def labels(release: Release, slot: Slot) -> dict[str, str]:
    """Return how an instance is marked, so that whoever comes later knows what it is."""
    return {
        "part": "instance", "deployment": slot.deployment, "colour": slot.colour,
        "release": release.id, "generation": str(slot.generation),
    }  # fmt: skip
