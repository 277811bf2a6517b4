"""Where instances run: the protocol that every engine keeps. What is switched, and when, is no engine's business.

An engine is one folder in here. Its `__init__` declares what it cannot do (`LACKS`) and makes one (`create`), without
importing anything heavy. `choice` is the one place that picks a folder, by the name in the profile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from tailrace.deploy.edge import Address, Edge, Upstream, UpstreamSettings
from tailrace.deploy.release import Release
from tailrace.profile import Acceptance, Profile, Service
from tailrace.verdict import Check

__all__ = ["INHERITED", "Capability", "Engine", "Images", "Instance", "Slot", "environment", "labels"]

# A process inherits nothing else: what an instance needs is in its release or its slot.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")

Capability = Literal["images", "edge handover", "edge changes", "earlier logs"]
"""What not every engine can do: run images; replace the edge without losing a request; move its front door, or
give it other files of TLS, while it runs; keep logs of what has ended."""


@dataclass(frozen=True)
class Slot:
    """The place of one instance in a deployment, and what it gets beside its release."""

    deployment: str
    colour: str
    generation: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of this place, as the URL of the provider: no part of the release."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Its variables that hold secrets: the name there → the name in this process. Values are never written down."""
    start_nice: int = 0
    """How much CPU priority it gives up until it is accepted, as a nice value."""

    @property
    def name(self) -> str:
        return f"{self.colour}-{self.generation}"


@dataclass(frozen=True)
class Instance:
    """One started release; the engine knows whether it still runs."""

    deployment: str
    name: str
    colour: str
    release: str
    generation: int
    address: Address
    """Where the edge finds it."""
    handle: str
    """The engine's own name for it: a pid, a container's id."""
    published: Address | None = None
    """Where this machine finds it, when that is another address."""

    @property
    def url(self) -> str:
        return (self.published or self.address).url

    def upstream(self, asked: Acceptance) -> Upstream:
        """Return it as the edge reaches it; `asked` is how its release shows that it may serve."""
        settings = UpstreamSettings(asked.health, asked.protocol)
        return Upstream(self.address, settings, asked.health.host or str(self.published or self.address))


class Images(Protocol):
    """Evidence about releases that are images."""

    def packages(self, release: Release) -> list[tuple[str, str, int]]:
        """Return name, version and size in bytes of each Python package in the image."""
        ...

    def files(self, release: Release) -> list[str]:
        """Return the path of each file that tailrace's own wheel has installed in the image."""
        ...

    def layers(self, release: Release) -> list[tuple[str, int]]:
        """Return the command that made each layer, and its size in bytes."""
        ...

    def rebuild(self, release: Release) -> tuple[str, str]:
        """Build tailrace's image from scratch; return the digest of its content, and that of the release's content."""
        ...

    def checks(self, release: Release, environment: Mapping[str, str], budget_mb: float) -> list[Check]:
        """Run the image with `environment`, break it and search it; `budget_mb` is for what is above its base."""
        ...


class Engine(Protocol):
    """Builds releases, runs their instances, and runs the edge in front of them."""

    lacks: ClassVar[Mapping[Capability, str]]
    """The capabilities that this engine does not have, each with the reason."""

    def preflight(self) -> None:
        """Raise PartMissing, with the command to type, when this machine lacks something that the engine needs."""

    def build(self, service: Service, source: Path, on_progress: Callable[[str], None] | None = None) -> Release:
        """Return the release of `service`, built from `source`; `on_progress` gets the lines of the build's log."""
        ...

    def start(self, release: Release, slot: Slot) -> Instance:
        """Start `release` in `slot` and return at once; it listens a moment later. Raises StartFailed, PartMissing."""
        ...

    def stop(self, instance: Instance, grace_s: float) -> str:
        """Stop it, by force after `grace_s`, and forget it; return "gone", "terminated" or "killed"."""
        ...

    def favour(self, instance: Instance) -> str:
        """Accept it as one that is to serve: end its low CPU priority, and start it again from now on when it ends.

        Return a fact about its priority, or "".
        """
        ...

    def kill(self, instance: Instance) -> None:
        """Kill it, as a crash would; it stays on record until `stop`."""

    def freeze(self, instance: Instance) -> None:
        """Suspend it: it hangs, and its sockets stay open."""

    def thaw(self, instance: Instance) -> None:
        """Let a suspended instance run again."""

    def alive(self, instance: Instance) -> bool: ...

    def died(self, instance: Instance) -> bool:
        """Return whether it ended by itself since its start, even if the engine has restarted it."""
        ...

    def restarts(self, instance: Instance) -> int:
        """Return how often the engine has started it again."""
        ...

    def restarts_itself(self, instance: Instance) -> bool:
        """Return whether something starts it again when it ends: not so when its supervisor was killed."""
        ...

    def state(self, instance: Instance) -> str:
        """Return how it stands: "running", "restarts 5, last exit: killed by signal 9, next start in 8 s", …"""
        ...

    def listening(self, instance: Instance) -> list[str] | None:
        """Return the addresses on which its processes listen; None where the engine cannot see them."""
        ...

    def log(self, instance: Instance, lines: int = 15) -> str:
        """Return where its log is, and its last lines of output, as an excerpt that is bounded."""
        ...

    def log_path(self, deployment: str, name: str) -> str:
        """Return where the whole log of that name is: a path, or the command that shows it."""
        ...

    def logs(self, deployment: str) -> list[str]:
        """Return the names of the logs that are kept: of instances, of the edge, and of programs beside them."""
        ...

    def output(self, deployment: str, name: str, lines: int, follow: bool) -> Iterator[bytes]:
        """Yield the last `lines` lines of that log in pieces; to `follow`, also what is written until it ends."""
        ...

    def instances(self, deployment: str) -> list[Instance]:
        """Return what was started for `deployment` and not stopped, whether it runs or has ended."""
        ...

    def edge(self, profile: Profile, folder: Path) -> Edge:
        """Return the edge of the deployment whose state is in `folder`, whether it runs or not."""
        ...

    def run_beside(self, deployment: str, name: str, command: Sequence[str]) -> Instance:
        """Run a program of tailrace next to the instances, as a provider; a running one of that name is reused.

        `{python}`, `{host}`, `{port}` and `{gateway}`, the address from which this machine reaches it, are filled in.
        Instances find it at the result's `address`, this machine at its `url`. It stays until `clear`.
        """
        ...

    def images(self) -> Images:
        """Return the evidence about images; raises PartMissing where the engine lacks them."""
        ...

    def sweep(self, deployment: str) -> list[str]:
        """End what was started but never recorded, because its starter was killed in between; return the names."""
        ...

    def clear(self, deployment: str) -> list[str]:
        """Remove everything of `deployment` that is not an instance; return the names."""
        ...


def environment(release: Release, slot: Slot) -> dict[str, str]:
    """Return the variables of an instance: of its release, then its slot, then its identity, then its secrets."""
    variables = {**release.environment, **slot.environment}
    if release.ours:
        variables |= {
            "TAILRACE_RELEASE": release.id,
            "TAILRACE_COLOUR": slot.colour,
            "TAILRACE_GENERATION": str(slot.generation),
        }
    return variables | secrets(slot)


def secrets(slot: Slot) -> dict[str, str]:
    """Return the secrets of an instance with their values of today, by the names that it knows."""
    return {name: os.environ[here] for name, here in slot.secrets.items() if here in os.environ}


def labels(release: Release, slot: Slot) -> dict[str, str]:
    """Return the marks of an instance, by which another process recognises it later."""
    return {
        "part": "instance", "deployment": slot.deployment, "colour": slot.colour,
        "release": release.id, "generation": str(slot.generation),
    }  # fmt: skip
