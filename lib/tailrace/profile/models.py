"""The sections of a profile: frozen, with limits for every value, and without unknown keys."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tailrace.profile import policy as policies
from tailrace.profile.edge import METRICS, EdgeSettings
from tailrace.profile.policy import Policy
from tailrace.profile.rollout import Canary, Hooks
from tailrace.profile.section import EnvironmentName, PositiveSeconds, ProfileSection, Seconds, Share
from tailrace.profile.service import ANONYMOUS, Service
from tailrace.profile.slo import Slo


class Simulator(ProfileSection):
    """The built-in provider: options of `tailrace simulate`. Its latencies are lognormal, in seconds."""

    seed: int = 1
    ttft_s: PositiveSeconds = 0.05
    """Median time to first token."""
    ttft_sigma: Annotated[float, Field(ge=0, le=3)] = 0.35
    """Standard deviation of its logarithm."""
    token_s: Seconds = 0.001
    """Median time per token after the first."""
    token_sigma: Annotated[float, Field(ge=0, le=3)] = 0.2
    tokens: Annotated[int, Field(ge=1, le=4_096)] = 16
    """Median length of an answer without its reasoning."""
    reasoning_tokens: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Tokens of reasoning before each answer."""
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    role_first: bool = False
    """Whether a stream's opening is sent at once, and not with its first token."""
    tokens_per_chunk: Annotated[int, Field(ge=1, le=64)] = 1
    keep_alive_s: Annotated[float, Field(ge=0, le=3_600)] = 0.0
    """A comment is sent whenever a stream has waited this long for its next token; 0: none."""
    usage_in_each_chunk: bool = False
    reasoning_model: bool = False
    """Whether max_tokens, and a temperature or top_p other than 1, are refused."""


class ProviderSettings(ProfileSection):
    """The model API behind the service."""

    base_url: str = ""
    """The URL of an OpenAI-compatible API, with its `/v1`; empty for the built-in simulator."""
    api_key_env: EnvironmentName = "OPENAI_API_KEY"
    """The name of the environment variable that holds the key; never the key itself."""
    model: str = "gpt-4o-mini"
    simulator: Simulator = Simulator()

    @field_validator("base_url")
    @classmethod
    def _http(cls, url: str) -> str:
        if url and not re.match(r"^https?://[^\s/@]+(?:/[^\s]*)?$", url):
            raise ValueError("expected an http(s) URL without user name or password in it")
        return url.rstrip("/")

    @property
    def simulated(self) -> bool:
        return not self.base_url


class Warmup(ProfileSection):
    """The warm-up of an instance: it ends when the latency has settled, or at `max_requests`."""

    min_requests: int = Field(default=20, ge=0, le=10_000)
    max_requests: int = Field(default=200, ge=0, le=10_000)
    settle_ratio: Annotated[float, Field(gt=0, le=1)] = 0.2
    """The latency has settled when the medians of the last two batches of ten differ by less than this share."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_requests > self.max_requests:
            raise ValueError(f"min_requests {self.min_requests} is above max_requests {self.max_requests}")
        return self


class GateLimits(ProfileSection):
    """The limits of the new colour while it bakes, in every window."""

    window_s: PositiveSeconds = 1.0
    min_requests: int = Field(default=20, ge=1)
    """A window with fewer requests is not judged."""
    max_error_rate: Share = 0.02
    max_latency_ratio: Annotated[float, Field(gt=1)] = 3.0
    """The new colour's p95 (and p99) over those of the old colour before the switch."""
    latency_floor_ms: Annotated[float, Field(ge=0)] = 20.0
    """Smaller differences are noise."""


class RolloutSettings(ProfileSection):
    """The waits, gates and deadlines of a switch."""

    start_nice: int = Field(default=5, ge=0, le=19)
    """How much CPU priority a new instance gives up to the one that serves until it is accepted, as a nice value."""
    start_timeout_s: PositiveSeconds = 30.0
    ready_timeout_s: PositiveSeconds = 30.0
    ack_timeout_s: PositiveSeconds = 5.0
    warmup: Warmup = Warmup()
    canary: Canary | None = None
    """Optional: who sees the new colour first."""
    hooks: Hooks = Hooks()
    weights: tuple[Annotated[int, Field(gt=0, lt=100)], ...] = ()
    """Optional shares of the new colour before the commit, in percent; each is gated."""
    weight_s: PositiveSeconds = 5.0
    bake_s: Seconds = 5.0
    settle_s: Seconds = 2.5
    """A first deploy, with nothing to go back to, watches its instance for this long since it answered first."""
    gate: GateLimits = GateLimits()
    drain: bool = True
    """Whether the old colour is drained. False only serves to show the effect of draining."""
    drain_timeout_s: PositiveSeconds = 30.0
    stop_grace_s: PositiveSeconds = 10.0

    @field_validator("weights")
    @classmethod
    def _rising(cls, weights: tuple[int, ...]) -> tuple[int, ...]:
        if list(weights) != sorted(set(weights)):
            raise ValueError(f"expected weights that rise, found {list(weights)}")
        return weights


class ResourceLimits(ProfileSection):
    """The resource limits of an instance: with Docker these, with processes those that are set, by control groups."""

    memory_mb: int = Field(default=512, ge=32)
    cpus: Annotated[float, Field(gt=0)] = 1.0
    pids: int = Field(default=256, ge=16)


class Profile(ProfileSection):
    """A validated profile."""

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$",
        description="at most 41 lower-case letters, digits, - and _, a letter or digit first, as my-service: it names "
        "folders, processes and containers",
    )
    engine: str = "process"
    """Name of a folder in deploy/engines; what it cannot do is refused when the deployment is opened."""
    service: Service = Service()
    provider: ProviderSettings = ProviderSettings()
    policy: Policy = Policy()
    """What tailrace's own service may do on its own: cache, retry, limit, spend, guard, and ask others instead."""
    edge: EdgeSettings = EdgeSettings()
    rollout: RolloutSettings = RolloutSettings()
    limits: ResourceLimits = ResourceLimits()
    slo: Slo = Slo()
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Notebook parameters by step; the runner validates them against the parameters cell of each notebook."""
    teardown: Literal["always", "never"] = "always"
    """Whether a run stops the deployment when it ends."""
    step_timeout_s: PositiveSeconds = 900.0

    @model_validator(mode="after")
    def _policy_of_our_service(self) -> Self:
        if self.policy != Policy() and not self.service.ours:  # a dump of a profile names what it leaves unset, too
            raise ValueError(
                "policy is that of tailrace's own service, and this profile deploys another; take it out, or take out "
                "service.command, image and dockerfile"
            )
        if twice := "; ".join(self.policy.said_twice(self.service.environment)):
            raise ValueError(twice)
        return self

    @model_validator(mode="after")
    def _anonymous_callers_of_our_service(self) -> Self:
        if self.service.anonymous == "shared":
            return self
        if not self.service.ours:
            raise ValueError("service.anonymous is for tailrace's own service, and this profile deploys another")
        if self.service.environment.get(ANONYMOUS, self.service.anonymous) != self.service.anonymous:
            raise ValueError(f"service.anonymous and {ANONYMOUS} in service.environment differ; take one of them out")
        return self

    @property
    def configured_service(self) -> Service:
        """The service with all settings that are part of its release: its own, and the policy."""
        apart = {ANONYMOUS: self.service.anonymous} if self.service.anonymous != "shared" else {}
        environment = {**self.service.environment, **self.policy.environment, **apart}
        return self.service.model_copy(update={"environment": environment})

    @property
    def configured_edge(self) -> EdgeSettings:
        """The settings of the edge, with those that depend on the service."""
        buffered, hidden = self.edge.buffered, self.edge.hidden_paths
        if buffered is None:
            buffered = self.service.protocol == "http1"
        if hidden is None:
            own = [self.service.metrics] if self.service.metrics.startswith("/") else []
            hidden = tuple(dict.fromkeys([METRICS, *own]))
        return self.edge.model_copy(update={"buffered": buffered, "hidden_paths": hidden})

    @property
    def notes(self) -> tuple[str, ...]:
        """What is allowed, and probably not meant."""
        waits = self._waits_s if self.service.ours else {}
        return tuple(
            f"edge.stream_idle_s is {self.edge.stream_idle_s:g} s, and {name} {wait_s:g} s: the edge cuts a silent "
            f"answer before the service can say why. Set edge.stream_idle_s above {wait_s:g}, or {name} below "
            f"{self.edge.stream_idle_s:g}"
            for name, wait_s in waits.items()
            if wait_s >= self.edge.stream_idle_s
        )

    @property
    def _waits_s(self) -> dict[str, float]:
        """How long tailrace's own service waits for a provider that is silent, by what says so; inf without a limit."""
        waits = dict(self.service.waits_s)
        for name in list(waits):
            section, field = policies.SINGLE[name]
            if place := self.policy.place(section, field):
                del waits[name]
                said = getattr(self.policy.limits, field, None)
                waits[f"policy.{place}"] = math.inf if said is None else said
        return waits

    @property
    def secrets(self) -> dict[str, str]:
        """The variables of an instance that hold secrets: the name there → the name where tailrace runs."""
        service, provider = self.service, self.provider
        handed_on = {name: name for name in (*service.secrets, *self.policy.variables)}
        if service.ours and not provider.simulated:
            handed_on[provider.api_key_env] = provider.api_key_env
        if service.provider_env and service.provider_env.api_key and not provider.simulated:
            handed_on[service.provider_env.api_key] = provider.api_key_env
        return handed_on

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The variables, where tailrace runs, whose values are secrets that this profile names."""
        named = [*self.service.secrets, *self.service.variables, *self.policy.variables, self.provider.api_key_env]
        for _, hook in self.rollout.hooks:
            named += hook.secrets if hook else ()
        return tuple(dict.fromkeys(named))

    @property
    def model(self) -> str:
        """The model that traffic and probes name."""
        return self.service.model or self.provider.model
