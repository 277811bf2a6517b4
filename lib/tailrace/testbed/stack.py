"""Bring up and take down what a profile describes: the provider, the edge and the two slots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailrace.deploy import Deployment, Release, Target, Watch, watch
from tailrace.deploy.edge import exposure
from tailrace.errors import DeployError
from tailrace.profile import Probe, Profile, Simulator
from tailrace.testbed import provider as providers
from tailrace.testbed import users
from tailrace.testbed.provider import Provider

if TYPE_CHECKING:
    from tailrace import load  # brings numpy, which `tailrace status` does not need

_HEAD_KB = 60
"""The edge's default for heads, beyond which the service is told to take larger ones, too."""
TEMPERATURES = (("cached", 0), ("fresh", 1))
"""Our service caches an answer at temperature 0, and at no other."""


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
        limits_ms = sorted(self.profile.slo.objectives.all_limits_ms)
        limits = {"TAILRACE_SLO_MS": ",".join(f"{ms:g}" for ms in limits_ms)} if limits_ms else {}
        if (head_kb := self.profile.edge.max_header_kb) > _HEAD_KB:
            limits["TAILRACE_MAX_HEAD_BYTES"] = str((head_kb + 4) << 10)
        return {
            "TAILRACE_PROVIDER_URL": url,
            "TAILRACE_MODEL": self.profile.model,
            "TAILRACE_API_KEY_ENV": self.profile.provider.api_key_env,
            **limits,
        }

    def mix(self, **shares: float) -> dict[str, Any]:
        """Return `shares` (stream_share, repeat_share) as far as the service's API knows them: all, or each 0.

        For chat, what a rehearsal learned of how the service counts tokens is added, so that prompts have the planned
        length. It is held once, at the first call, through the edge: the service has to be up.
        """
        mixed = users.mix(self.profile, **shares)
        return mixed if self.no_chat else {**mixed, "targets": self._counting}

    @cached_property
    def _counting(self) -> dict[str, Any]:
        from tailrace.load import arrivals
        from tailrace.load.rehearsal import rehearse

        one = self.traffic(arrivals.constant(1.0, 1.0), "rehearsal")
        return rehearse(one, f"{self.url}/v1", self.sender_options).traffic.workload.targets

    def traffic(self, arrivals: load.Schedule, phase: str, **workload: Any) -> load.Traffic:
        """Return the traffic of this profile's users: chat completions, or the first request of `service.smoke`."""
        return users.traffic(self.profile, arrivals, phase, **workload)

    @property
    def no_chat(self) -> str:
        """Why this profile's users send no chat completions, and so no streams; "" when they do."""
        return users.no_chat(self.profile)

    @property
    def sender_options(self) -> dict[str, Any]:
        """The options of the load generator that requests to the service need; no secret is in them."""
        return users.sender_options(self.profile)

    def watch(self, interval_s: float = 0.1) -> Watch:
        """Return a sampler of the serving instance's own health, and of what users see through the edge.

        Raises DeployError when nothing serves.
        """
        serving = self.deployment.serving
        if serving is None:
            raise DeployError(f"{self.profile.name}: nothing serves, so there is nothing to watch; bring it up first")
        asked = self.deployment.releases.acceptance(serving.release)
        own, health = Target.of(serving, asked, self.deployment.edge), asked.health
        targets: dict[str, tuple[str, str | Probe]] = {
            "live": (own.url, health.live),
            "ready": (own.url, health.ready),
            "edge": (self.deployment.probe_url, health.live),
        }
        targets |= {name: (self.deployment.probe_url, request) for name, request in self._questions().items()}
        return watch(targets, interval_s, headers={**asked.headers, **health.headers}, checks=health)

    def spare_provider(self, name: str, settings: Simulator | None = None) -> Provider:
        """Return another simulator, which can be broken without harm to the one behind the service."""
        settings = settings or self.profile.provider.simulator
        return providers.simulated(settings, self.deployment.engine, self.profile.name, name)

    def _questions(self) -> dict[str, Probe]:
        """Return what shows whether the provider is there: `fresh` needs it always, `cached` until it was answered."""
        service = self.profile.service
        if not service.ours and service.provider_env is None:
            return {}
        if service.api == "http":
            return {"fresh": service.addressed(next(iter(service.smoke), Probe()))}
        asked = {name: users.chat_probe(self.profile, "Is anybody there?", temperature=at) for name, at in TEMPERATURES}
        return asked if service.ours else {"fresh": asked["fresh"]}


def preflight(profile: Profile, root: Path) -> None:
    """Raise PartMissing, with what to do, when this machine lacks something that `profile` needs."""
    exposure.check(profile.edge)
    Deployment.open(profile, home(root)).engine.preflight()


def down(profile: Profile, root: Path) -> list[str]:
    """Stop everything that runs for `profile`, and return the names."""
    return Deployment.open(profile, home(root)).down()


def home(root: Path) -> Path:
    """Return the folder that holds the state of all deployments of the project."""
    return root / ".tailrace"
