"""Bring up and take down what a profile describes: the provider, the edge and the two slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from tailrace.deploy import Deployment, Release, Watch, watch
from tailrace.errors import DeployError
from tailrace.profile import Probe, Profile
from tailrace.testbed import provider as providers
from tailrace.testbed.provider import Provider

if TYPE_CHECKING:
    from tailrace import load  # brings numpy, which `tailrace status` does not need

TIMEOUT_S = 10.0
"""The longest that a user waits for an answer."""


@dataclass(frozen=True)
class Stack:
    """A deployment and the provider behind it."""

    profile: Profile
    root: Path
    deployment: Deployment

    @classmethod
    def open(cls, profile: Profile, root: Path) -> Stack:
        """Return the stack of `profile`; nothing is started before `up`. Raises PartMissing as `preflight` does."""
        preflight(profile, root)
        return cls(profile, root, Deployment.open(profile, home(root)))

    @cached_property
    def provider(self) -> Provider:
        """The provider of the profile; a simulator is started at the first use."""
        settings = self.profile.provider
        return self.spare_provider("provider") if settings.simulated else providers.real(settings)

    @property
    def url(self) -> str:
        """Base URL of the edge: what users of the service call."""
        return self.deployment.url

    def build(self, on_progress: Callable[[str], None] | None = None) -> Release:
        """Return the release of the working tree, built or reused; `on_progress` gets the lines of a build's log."""
        return self.deployment.build(self.root, on_progress)

    def up(self, release: Release) -> None:
        """Serve `release` behind the edge; a deployment that already serves is left as it is."""
        self.deployment.up(release, environment=self.environment())

    def environment(self, provider: Provider | None = None) -> dict[str, str]:
        """Return the variables that tell an instance where its provider is; they are no part of a release.

        A service that does not say how it learns that (`service.provider_env`) gets none, and no provider is started.
        """
        service, names = self.profile.service, self.profile.service.provider_env
        if not service.ours and names is None:
            return {}
        url = (provider or self.provider).internal_url
        if names is not None:
            key = {names.api_key: "simulated"} if names.api_key and self.profile.provider.simulated else {}
            return {names.base_url: url, **key}
        limits_ms = self.profile.slo.latency_ms.values()
        limits = {"TAILRACE_SLO_MS": ",".join(f"{ms:g}" for ms in limits_ms)} if limits_ms else {}
        return {
            "TAILRACE_PROVIDER_URL": url,
            "TAILRACE_MODEL": self.profile.model,
            "TAILRACE_API_KEY_ENV": self.profile.provider.api_key_env,
            **limits,
        }

    def traffic(self, arrivals: load.Schedule, phase: str, **workload: Any) -> load.Traffic:
        """Return the traffic of this profile's users: `chat_traffic`, or the first request of `service.smoke`."""
        from tailrace import load

        if self.profile.service.ours:
            return self.chat_traffic(arrivals, phase, **workload)
        first = next(iter(self.profile.service.smoke), Probe())
        body = "" if first.json_body is None else orjson.dumps(first.json_body).decode()
        requests = load.Workload(kind="plain", method=first.method, path=first.path, body=body)
        return load.Traffic(arrivals, requests, phase=phase, timeout_s=TIMEOUT_S)

    def chat_traffic(self, arrivals: load.Schedule, phase: str, **workload: Any) -> load.Traffic:
        """Return traffic of chat completions; `workload` holds fields of `load.Workload` (repeat_share, seed …).

        Its temperature is 0 unless `workload` sets it: answers at another one are never cached.
        """
        from tailrace import load

        requests = load.Workload(**{"model": self.profile.model, "temperature": 0.0, **workload})
        return load.Traffic(arrivals, requests, phase=phase, timeout_s=TIMEOUT_S)

    def watch(self, interval_s: float = 0.1) -> Watch:
        """Return a sampler of the serving instance's own health, and of what users see through the edge.

        Raises DeployError when nothing serves.
        """
        serving = self.deployment.serving
        if serving is None:
            raise DeployError(f"{self.profile.name}: nothing serves, so there is nothing to watch; bring it up first")
        health = self.profile.service.health
        targets: dict[str, tuple[str, str | Probe]] = {
            "live": (serving.url, health.live),
            "ready": (serving.url, health.ready),
            "edge": (self.deployment.probe_url, health.live),
        }
        if self.profile.service.ours:
            targets["cached"] = (self.deployment.probe_url, self._chat_probe(temperature=0))
            targets["fresh"] = (self.deployment.probe_url, self._chat_probe(temperature=1))
        return watch(targets, interval_s, headers=self.profile.service.headers)

    def spare_provider(self, name: str) -> Provider:
        """Return another simulator, which can be broken without harm to the one behind the service."""
        settings = self.profile.provider.simulator
        return providers.simulated(settings, self.deployment.engine, self.profile.name, name)

    def _chat_probe(self, temperature: float) -> Probe:
        body = {
            "model": self.profile.model,
            "temperature": temperature,
            "messages": [{"role": "user", "content": "Is anybody there?"}],
        }
        return self.profile.service.addressed(Probe(method="POST", path="/v1/chat/completions", json=body))


def preflight(profile: Profile, root: Path) -> None:
    """Raise PartMissing, with the command to type, when this machine lacks something that `profile` needs."""
    Deployment.open(profile, home(root)).engine.preflight()


def down(profile: Profile, root: Path) -> list[str]:
    """Stop everything that runs for `profile`, and return the names."""
    return Deployment.open(profile, home(root)).down()


def home(root: Path) -> Path:
    """Return the folder that holds the state of all deployments of the project."""
    return root / ".tailrace"
