"""The service of a profile: what to deploy, how to speak to it, and what its instances need."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from tailrace import credentials, request_headers
from tailrace.profile import placeholders
from tailrace.profile.section import EnvironmentName, Port, PositiveSeconds, ProfileSection, UrlPath


def _headers(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers by their names in lower case; raises ValueError at one that cannot be sent."""
    for name, value in headers.items():
        if reason := request_headers.problem(name, value):
            raise ValueError(reason)
    lower = {name.lower(): value for name, value in headers.items()}
    if len(lower) < len(headers):
        raise ValueError("expected each header once, whatever the case of its letters")
    return lower


Measure = Literal["running", "waiting", "cache_use", "ttft", "tpot", "itl", "latency"]
"""What a server's own metrics may tell: `server_metrics.MEASURES`."""
Headers = Annotated[dict[str, str], AfterValidator(_headers)]
"""Headers of requests. `${NAME}` is filled in from the environment at the moment of sending, and never stored."""


def _statuses(value: Any) -> Any:
    """Return statuses and ranges of them as text; raises ValueError at what is neither."""
    listed = [str(item) for item in (value if isinstance(value, (list, tuple)) else [value])]
    for item in listed:
        first, _, last = item.partition("-")
        if not (_STATUS.fullmatch(item) and int(first) <= int(last or first)):
            raise ValueError(f"{item!r} is no status; expected one from 100 to 599, as 204, or a range, as 200-299")
    return listed


_STATUS = re.compile(r"[1-5]\d\d(-[1-5]\d\d)?")
Protocol = Literal["http1", "h2c"]
"""What a service speaks: HTTP/1.1, or HTTP/2 from the first byte and without TLS (prior knowledge), as gRPC does."""
SILENCES_S: Final = {"TAILRACE_DEADLINE_S": 600.0, "TAILRACE_SILENCE_S": 300.0}
"""The settings of tailrace's own service that say how long it waits for a byte, and their defaults."""


ANONYMOUS: Final = "TAILRACE_ANONYMOUS"
"""The setting of tailrace's own service that `service.anonymous` becomes."""


class Health(ProfileSection):
    """The service's health checks: their paths, how they are asked, and which answers are healthy."""

    live: UrlPath = "/healthz"
    """The edge asks for it without a header of `service.headers`, so it must not need a key."""
    ready: UrlPath = "/readyz"
    startup: UrlPath = "/readyz"
    status: Annotated[tuple[str, ...], BeforeValidator(_statuses), Field(min_length=1)] = ("200-299",)
    """The statuses of a healthy answer, alone (`204`) or as a range (`200-299`)."""
    host: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9._:\[\]-]*$", description="a host, as api.example.com, or with its port")
    ] = ""
    """The `Host` of the checks, for a service that accepts only some; empty: the address that this machine calls."""

    @property
    def accepted(self) -> tuple[tuple[int, int], ...]:
        """The first and the last status of each range of healthy answers."""
        ranges = (item.partition("-") for item in self.status)
        return tuple((int(first), int(last or first)) for first, _, last in ranges)

    def accepts(self, status: int) -> bool:
        """Return whether an answer of that status is healthy."""
        return any(first <= status <= last for first, last in self.accepted)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that a check needs to be asked as `host` says."""
        return {"host": self.host} if self.host else {}


class Probe(ProfileSection):
    """A request to an instance: to warm it up, or as a smoke test."""

    method: Literal["GET", "POST"] = "GET"
    path: UrlPath = "/"
    headers: Headers = Field(default_factory=dict)
    """Beside those of the service; an empty value leaves one of them out."""
    json_body: Any = Field(default=None, alias="json")
    status: int = Field(default=200, ge=100, le=599)
    contains: str = ""
    """Text that the body has to contain."""
    stream: bool = False
    """Whether the answer is a stream of server-sent events, which has to end with its terminator."""


class Acceptance(ProfileSection):
    """How an instance of a release shows that it may serve. It is kept with the release, so that a rollback asks the
    old release what it was asked when it was new."""

    health: Health = Health()
    protocol: Protocol = "http1"
    headers: Headers = Field(default_factory=dict)
    timeout_s: PositiveSeconds = 10.0
    warmup: tuple[Probe, ...] = ()
    smoke: tuple[Probe, ...] = ()
    metrics: str = ""
    metric_names: dict[Measure, tuple[str, ...]] = Field(default_factory=dict)

    def addressed(self, request: Probe) -> Probe:
        """Return the request with the headers of the service, where it has none of that name itself."""
        return request.model_copy(update={"headers": {**self.headers, **request.headers}})


class ProviderEnv(ProfileSection):
    """Names of the environment variables by which a service learns where its provider is."""

    base_url: EnvironmentName
    """Gets the URL of the provider's API, with its `/v1`."""
    api_key: EnvironmentName | None = None
    """Gets the provider's key: the value of `provider.api_key_env`, or any word for the simulator."""


class Service(ProfileSection):
    """The service to deploy. With neither `command`, `image` nor `dockerfile` it is tailrace's own service."""

    command: tuple[str, ...] = ()
    """Any program; `{port}` and `{host}` are replaced in its words, and `{python}` by that of tailrace."""
    source: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """The files and folders that the command is made of, relative to the project: an edit there is another release.

    By default, the files that its words name.
    """
    image: str = ""
    """The name of an existing image; needs an engine that runs images."""
    dockerfile: str = ""
    """A Dockerfile to build, relative to the project; needs an engine that runs images."""
    container_port: Port = 8000
    protocol: Protocol = "http1"
    """What the edge speaks with it: `http1`, or `h2c` for a server of HTTP/2 without TLS, as one of gRPC."""
    api: Literal["openai", "http"] = "http"
    """What it speaks: `openai` gets chat completions with streams, `http` the first request of `smoke`.

    The default is `openai` for tailrace's own service, `http` for any other.
    """
    model: str = ""
    """The model that traffic and probes name; empty: `provider.model`."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """More fields of every chat completion that tailrace sends it, as `max_tokens`; `temperature: null` omits it."""
    headers: Headers = Field(default_factory=dict)
    """Sent with every request to the service: health checks, warm-up, smoke tests and load."""
    timeout_s: PositiveSeconds = 10.0
    """The longest that a user, a smoke test or a warm-up request waits for a whole answer."""
    provider_env: ProviderEnv | None = None
    """Set for a service that gets its provider's address from its environment; tailrace's own needs none."""
    metrics: str = ""
    """The path of the service's own metrics, or their URL; empty when it has none."""
    metric_names: dict[Measure, tuple[str, ...]] = Field(default_factory=dict)
    """The names of its metrics by measure, where it is neither tailrace's nor vLLM nor llama.cpp."""
    health: Health = Health()
    anonymous: Literal["shared", "apart"] = "shared"
    """Whether callers without a credential get each other's cached answers; `apart`: theirs are not cached.

    Only for tailrace's own service.
    """
    environment: dict[EnvironmentName, str] = Field(default_factory=dict)
    """Plain settings. They are part of the release: a changed value makes another release."""
    secrets: tuple[EnvironmentName, ...] = ()
    """Names of environment variables that are passed to the instances, and never stored."""
    warmup: tuple[Probe, ...] = ()
    smoke: tuple[Probe, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict) or any(values.get(key) for key in ("command", "image", "dockerfile")):
            return values
        return {"api": "openai", "metrics": "/metrics", **values}

    @model_validator(mode="after")
    def _source_of_a_command(self) -> Self:
        if self.source and (self.image or self.dockerfile or not self.command):
            raise ValueError(
                "source lists the files of a command; tailrace's own service and images are digested whole"
            )
        return self

    @field_validator("command")
    @classmethod
    def _known_placeholders(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if mistake := placeholders.mistake(command):
            raise ValueError(mistake)
        return command

    @field_validator("environment")
    @classmethod
    def _plain(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if credentials.SECRET_NAME.search(name) and value:
                raise ValueError(f"{name} is named like a credential; list the name under service.secrets")
        return environment

    @field_validator("metrics")
    @classmethod
    def _path_or_url(cls, metrics: str) -> str:
        if metrics and not re.fullmatch(r"(?:https?://[^\s/@]+)?/\S*", metrics):
            raise ValueError("expected a path that begins with /, or an http(s) URL with a path, without a password")
        return metrics

    @property
    def ours(self) -> bool:
        """Whether it is tailrace's own service."""
        return not (self.command or self.image or self.dockerfile)

    @property
    def waits_s(self) -> Mapping[str, float]:
        """How long tailrace's own service waits for a provider that is silent, by the setting."""
        waits = {}
        for name, default_s in SILENCES_S.items():
            with contextlib.suppress(ValueError):  # the service itself refuses a setting that is no number
                waits[name] = float(self.environment.get(name, default_s))
        return waits

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables whose values the headers of its requests need."""
        sent = (self.headers, *(probe.headers for probe in (*self.warmup, *self.smoke)))
        return tuple(dict.fromkeys(name for headers in sent for name in request_headers.variables(headers)))

    @property
    def acceptance(self) -> Acceptance:
        """How an instance of this service shows that it may serve."""
        return Acceptance(**{name: getattr(self, name) for name in Acceptance.model_fields})

    def addressed(self, request: Probe) -> Probe:
        """Return the request with the headers of the service, where it has none of that name itself."""
        return self.acceptance.addressed(request)
