"""The sections of a profile: frozen, with limits for every value, and without unknown keys."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tailrace import credentials
from tailrace.profile.section import ProfileSection, Share
from tailrace.profile.slo import Slo

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535, description="0 means: any free port")]
UrlPath = Annotated[str, Field(pattern=r"^/[^\s]*$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Health(ProfileSection):
    """The paths of the service's health checks."""

    live: UrlPath = "/healthz"
    ready: UrlPath = "/readyz"
    startup: UrlPath = "/readyz"


class Probe(ProfileSection):
    """A request to an instance: to warm it up, or as a smoke test."""

    method: Literal["GET", "POST"] = "GET"
    path: UrlPath = "/"
    json_body: Any = Field(default=None, alias="json")
    status: int = Field(default=200, ge=100, le=599)
    contains: str = ""
    """Text that the body has to contain."""
    stream: bool = False
    """Whether the answer is a stream of server-sent events, which has to end with its terminator."""


class Service(ProfileSection):
    """The service to deploy. With neither `command`, `image` nor `dockerfile` it is tailrace's own service."""

    command: tuple[str, ...] = ()
    """Any program; `{port}` and `{host}` are replaced in its arguments."""
    image: str = ""
    """The name of an existing image; needs an engine that runs images."""
    dockerfile: str = ""
    """A Dockerfile to build, relative to the project; needs an engine that runs images."""
    container_port: Port = 8000
    health: Health = Health()
    environment: dict[EnvironmentName, str] = Field(default_factory=dict)
    """Plain settings. They are part of the release: a changed value makes another release."""
    secrets: tuple[EnvironmentName, ...] = ()
    """Names of environment variables that are passed to the instances, and never stored."""
    warmup: tuple[Probe, ...] = ()
    smoke: tuple[Probe, ...] = ()

    @field_validator("environment")
    @classmethod
    def _plain(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if credentials.SECRET_NAME.search(name) and value:
                raise ValueError(f"{name} is named like a credential; list the name under service.secrets")
        return environment

    @property
    def ours(self) -> bool:
        """Whether it is tailrace's own service."""
        return not (self.command or self.image or self.dockerfile)


class Simulator(ProfileSection):
    """The built-in provider. Its latencies are lognormal, in seconds."""

    seed: int = 1
    ttft_s: PositiveSeconds = 0.05
    """Median time to first token."""
    ttft_sigma: Annotated[float, Field(ge=0, le=3)] = 0.35
    """Standard deviation of its logarithm."""
    token_s: Seconds = 0.001
    """Median time per token after the first."""
    token_sigma: Annotated[float, Field(ge=0, le=3)] = 0.2


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


class EdgeSettings(ProfileSection):
    """The proxy in front of the two slots."""

    host: str = "127.0.0.1"
    port: Port = 0
    stream_idle_s: PositiveSeconds = 300.0
    """The edge ends a stream that has been silent for this long. Otherwise a stream has no limit."""


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

    start_timeout_s: PositiveSeconds = 30.0
    ready_timeout_s: PositiveSeconds = 30.0
    ack_timeout_s: PositiveSeconds = 5.0
    warmup: Warmup = Warmup()
    weights: tuple[Annotated[int, Field(gt=0, lt=100)], ...] = ()
    """Optional shares of the new colour before the commit, in percent; each is gated."""
    weight_s: PositiveSeconds = 5.0
    bake_s: Seconds = 5.0
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
    """The resource limits of an instance, where the engine enforces them."""

    memory_mb: int = Field(default=512, ge=32)
    cpus: Annotated[float, Field(gt=0)] = 1.0
    pids: int = Field(default=256, ge=16)


class Profile(ProfileSection):
    """A validated profile."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    engine: str = "process"
    """Name of a folder in deploy/engines; what it cannot do is refused when the deployment is opened."""
    service: Service = Service()
    provider: ProviderSettings = ProviderSettings()
    edge: EdgeSettings = EdgeSettings()
    rollout: RolloutSettings = RolloutSettings()
    limits: ResourceLimits = ResourceLimits()
    slo: Slo = Slo()
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Notebook parameters by step; the runner validates them against the parameters cell of each notebook."""
    teardown: Literal["always", "never"] = "always"
    """Whether a run stops the deployment when it ends."""
    step_timeout_s: PositiveSeconds = 900.0
